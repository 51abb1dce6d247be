package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"html"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/notify"
	amtemplate "github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/model"
)

// A message whose template fails goes out all the same: with Alertmanager's own texts where the user's fail, or
// with a plain text, and with the error in it.

// bare is a receiver with each integration, without a text of its own: the texts are Alertmanager's.
const bare = `route: {receiver: r}
receivers:
- name: r
  webhook_configs: [{url: http://x/}]
  email_configs: [{to: a@b, from: c@d, smarthost: h:25}]
  pagerduty_configs: [{routing_key: a}]
  opsgenie_configs: [{api_key: a}]
  wechat_configs: [{api_secret: a, corp_id: a}]
  slack_configs: [{api_url: http://x/}]
  victorops_configs: [{api_key: a, routing_key: a}]
  pushover_configs: [{user_key: a, token: a}]
  sns_configs: [{topic_arn: 'arn:aws:sns:us-east-2:123456789012:My-Topic', sigv4: {region: us-east-2}}]
  telegram_configs: [{bot_token: a, chat_id: 5}]
  discord_configs: [{webhook_url: http://x/}]
  webex_configs: [{room_id: a, http_config: {authorization: {credentials: a}}}]
  msteams_configs: [{webhook_url: http://x/}]
  msteamsv2_configs: [{webhook_url: http://x/}]
  jira_configs: [{api_url: http://x/, project: a, issue_type: b}]
  incidentio_configs: [{url: http://x/, alert_source_token: a}]
  rocketchat_configs: [{token: a, token_id: a}]
  mattermost_configs: [{webhook_url: http://x/}]
`

// ownTexts are Alertmanager's own texts, by list and path.
var ownTexts = sync.OnceValue(func() map[string]map[string]string {
	c, err := loadText(bare)
	if err != nil {
		panic(err) // the text is ours
	}
	all := map[string]map[string]string{}
	for _, list := range integrationLists {
		all[list] = textsIn(listOf(&c.Receivers[0], list).Index(0))
		if list == "email_configs" {
			all[list]["headers.Subject"] = config.DefaultEmailSubject
		}
	}
	return all
})

// textsIn are all texts of a configuration by their paths.
func textsIn(conf reflect.Value) map[string]string {
	all := map[string]string{}
	rewrite(conf, nil, func(path []any, s string) string {
		all[pathText(path)] = s
		return s
	})
	return all
}

func pathText(path []any) string {
	steps := make([]string, len(path))
	for i, step := range path {
		steps[i] = fmt.Sprint(step)
	}
	return strings.Join(steps, ".")
}

// custom reports that an integration has templates which are not Alertmanager's own.
func custom(list string, conf reflect.Value) bool {
	own := ownTexts()[list]
	for path, text := range textsIn(conf) {
		if strings.Contains(text, "{{") && own[path] != text {
			return true
		}
	}
	return false
}

// rendered is what a text came to.
type rendered struct {
	out string
	err error
}

// try renders the user's texts of an integration, and returns what each path came to, and the first error.
func (s *Senders) try(ctx context.Context, i *integration, n notice) (all map[string]rendered, failed error) {
	data := notify.GetTemplateData(ctx, s.theirs, n.alerts, s.log)
	all = map[string]rendered{}
	own := ownTexts()[i.list]
	rewrite(i.conf, nil, func(path []any, text string) string {
		// Alertmanager's own texts can be trusted, unless template files redefine what they call.
		if strings.Contains(text, "{{") && (i.files || own[pathText(path)] != text) {
			out, err := s.texts.render(text, data, data.RouteLabels)
			all[pathText(path)] = rendered{out, err}
			if err != nil && failed == nil {
				failed = fmt.Errorf("%s: %w", pathText(path), err)
			}
		}
		return text
	})
	return all, failed
}

// templateErrorName is the annotation that says what went wrong.
const templateErrorName = "tocsin_template_error"

// plainly makes an integration for one message, with texts that do not fail, and alerts that say why.
func (s *Senders) plainly(ctx context.Context, i *integration, n notice, tried map[string]rendered, failed error) (notify.Integration, []*alert.Alert, error) {
	why := clean(templateError(failed), secretsOf(i.conf))
	alerts := make([]*alert.Alert, len(n.alerts))
	for k, a := range n.alerts {
		marked := *a
		marked.Annotations = a.Annotations.Clone()
		marked.Annotations[templateErrorName] = model.LabelValue(why)
		alerts[k] = &marked
	}
	data := notify.GetTemplateData(ctx, s.theirs, alerts, s.log)
	own := ownTexts()[i.list]
	if tried == nil {
		tried, _ = s.try(ctx, i, n)
	}
	var lost error
	conf := rewrite(i.conf, nil, func(path []any, text string) string {
		r, ok := tried[pathText(path)]
		if !ok {
			return text // no template, or Alertmanager's own
		}
		out, err := s.plainText(path, r, own[pathText(path)], data, why)
		lost = errors.Join(lost, err)
		return out
	})
	if lost != nil {
		return notify.Integration{}, nil, lost
	}
	r := config.Receiver{Name: i.receiver}
	list := listOf(&r, i.list)
	list.Set(reflect.Append(list, conf))
	built, err := s.build(r, s.theirPlain)
	if err != nil {
		return notify.Integration{}, nil, err
	}
	return built[0], alerts, nil
}

// plainText is what stands for a text: what it renders to, else Alertmanager's own, else a plain summary. What
// addresses the message must render: nobody knows where else it should go.
func (s *Senders) plainText(path []any, tried rendered, own string, data *amtemplate.Data, why string) (string, error) {
	key := ""
	for _, step := range slices.Backward(path) {
		if name, ok := step.(string); ok {
			key = name
			break
		}
	}
	if tried.err == nil && key != "html" {
		return literal(tried.out), nil
	}
	if slices.Contains(addresses, key) {
		return "", fmt.Errorf("%s: %w", key, tried.err)
	}
	if out, err := s.plain.render(own, data, data.RouteLabels); err == nil && strings.TrimSpace(out) != "" {
		return own, nil
	}
	switch {
	case slices.Contains(optional, key):
		return "", nil
	}
	out := summary(data, why)
	if key == "html" {
		out = "<pre>" + html.EscapeString(out) + "</pre>"
	}
	return literal(out), nil
}

// addresses are the keys that say where a message goes, or to whom it is known.
var addresses = []string{"to", "from", "url", "api_url", "webhook_url", "routing_key", "service_key", "api_key", "user_key", "token",
	"room_id", "chat_id", "topic_arn", "target_arn", "phone_number", "project", "issue_type", "to_user", "to_party", "to_tag", "agent_id"}

// optional are the keys that a plain text would spoil, and that far ends have a value of their own for. A Slack
// webhook has a channel.
var optional = []string{"channel", "color", "priority", "severity", "class", "group", "component", "client", "client_url", "source",
	"retry", "expire", "icon_emoji", "icon_url", "image_url", "thumb_url", "title_link", "callback_id", "href", "src", "alt", "style", "type",
	"name", "value", "tags", "entity", "actions", "username", "url_title", "device", "sound", "footer", "fallback", "short"}

// literal writes a text so that a template renders it as it is.
func literal(s string) string { return strings.ReplaceAll(s, "{{", `{{"{{"}}`) }

// summary is a plain text about alerts.
func summary(data *amtemplate.Data, why string) string {
	const shown = 20
	var b strings.Builder
	fmt.Fprintf(&b, "[%s] %d firing, %d resolved. (The template of this message failed: %s)\n", strings.ToUpper(data.Status),
		len(data.Alerts.Firing()), len(data.Alerts.Resolved()), why)
	for i, a := range data.Alerts {
		if i == shown {
			fmt.Fprintf(&b, "and %d more\n", len(data.Alerts)-shown)
			break
		}
		fmt.Fprintf(&b, "- %s:", a.Status)
		for _, p := range a.Labels.SortedPairs() {
			b.WriteString(" " + oneLine(p.Name+"="+p.Value, shownRunes))
		}
		if text := a.Annotations["summary"]; text != "" {
			b.WriteString(": " + oneLine(text, shownRunes))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
