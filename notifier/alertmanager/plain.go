package alertmanager

import (
	"context"
	"fmt"
	"html"
	"reflect"
	"slices"
	"strings"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/notify/discord"
	"github.com/prometheus/alertmanager/notify/incidentio"
	"github.com/prometheus/alertmanager/notify/jira"
	"github.com/prometheus/alertmanager/notify/mattermost"
	"github.com/prometheus/alertmanager/notify/msteams"
	"github.com/prometheus/alertmanager/notify/msteamsv2"
	"github.com/prometheus/alertmanager/notify/opsgenie"
	"github.com/prometheus/alertmanager/notify/pagerduty"
	"github.com/prometheus/alertmanager/notify/telegram"
	"github.com/prometheus/alertmanager/notify/webhook"
	amtemplate "github.com/prometheus/alertmanager/template"
	"github.com/prometheus/alertmanager/types"
	"github.com/prometheus/common/model"
)

// A message whose template fails goes out all the same: with Alertmanager's own texts where the user's fail, or
// with a plain text, and with the error in it.

// defaults are Alertmanager's own texts, by the list that they are of.
var defaults = map[string]any{
	"webhook_configs": &webhook.WebhookConfig{}, "email_configs": &config.DefaultEmailConfig,
	"pagerduty_configs": &pagerduty.DefaultPagerdutyConfig, "opsgenie_configs": &opsgenie.DefaultOpsGenieConfig,
	"wechat_configs": &config.DefaultWechatConfig, "slack_configs": &config.DefaultSlackConfig,
	"victorops_configs": &config.DefaultVictorOpsConfig, "pushover_configs": &config.DefaultPushoverConfig,
	"sns_configs": &config.DefaultSNSConfig, "telegram_configs": &telegram.DefaultTelegramConfig,
	"discord_configs": &discord.DiscordConfig{
		Title: `{{ template "discord.default.title" . }}`, Message: `{{ template "discord.default.message" . }}`}, "webex_configs": &config.DefaultWebexConfig,
	"msteams_configs": &msteams.DefaultMSTeamsConfig, "msteamsv2_configs": &msteamsv2.DefaultMSTeamsV2Config,
	"jira_configs": &jira.DefaultJiraConfig, "incidentio_configs": &incidentio.IncidentioConfig{},
	"rocketchat_configs": &config.DefaultRocketchatConfig, "mattermost_configs": &mattermost.DefaultMattermostConfig,
}

// textsIn are all texts of a configuration by their paths.
func textsIn(conf reflect.Value) map[string]string {
	all := map[string]string{}
	rewrite(conf, nil, func(path []any, s string) string {
		all[pathText(path)] = s
		return s
	})
	return all
}

func pathText(path []any) string { return strings.Trim(fmt.Sprint(path...), "[]") }

// custom reports that an integration has templates which are not Alertmanager's own.
func custom(conf reflect.Value) bool {
	found := false
	own := map[string]bool{}
	for _, list := range integrationLists {
		for _, text := range textsIn(reflect.ValueOf(defaults[list])) {
			own[text] = true
		}
	}
	rewrite(conf, nil, func(_ []any, s string) string {
		found = found || strings.Contains(s, "{{") && !own[s]
		return s
	})
	return found
}

// try renders all texts of an integration, and returns the first error.
func (s *Senders) try(ctx context.Context, i *integration, n notice) (failed error) {
	data := notify.GetTemplateData(ctx, s.theirs, n.alerts, s.log)
	rewrite(i.conf, nil, func(path []any, text string) string {
		if failed == nil {
			if _, err := s.texts.render(text, data, data.RouteLabels); err != nil {
				failed = fmt.Errorf("%s: %w", pathText(path), err)
			}
		}
		return text
	})
	return failed
}

// templateErrorName is the annotation that says what went wrong.
const templateErrorName = "tocsin_template_error"

// plainly makes an integration for one message, with texts that do not fail, and alerts that say why.
func (s *Senders) plainly(ctx context.Context, i *integration, n notice, failed error) (notify.Integration, []*types.Alert, error) {
	why := clean(templateError(failed), secretsOf(i.conf))
	alerts := make([]*types.Alert, len(n.alerts))
	for k, a := range n.alerts {
		marked := *a
		marked.Annotations = a.Annotations.Clone()
		marked.Annotations[templateErrorName] = model.LabelValue(why)
		alerts[k] = &marked
	}
	data := notify.GetTemplateData(ctx, s.theirs, alerts, s.log)
	own := textsIn(reflect.ValueOf(defaults[i.list]))
	conf := rewrite(i.conf, nil, func(path []any, text string) string {
		if !strings.Contains(text, "{{") {
			return text
		}
		return s.plainText(path, text, own[pathText(path)], data, why)
	})
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
// addresses the message must render, or be left as it is: nobody knows where else it should go.
func (s *Senders) plainText(path []any, text, own string, data *amtemplate.Data, why string) string {
	key := ""
	for _, step := range slices.Backward(path) {
		if name, ok := step.(string); ok {
			key = name
			break
		}
	}
	if key != "html" {
		if out, err := s.texts.render(text, data, data.RouteLabels); err == nil {
			return literal(out)
		}
	}
	if own != "" {
		if _, err := s.plain.render(own, data, data.RouteLabels); err == nil {
			return own
		}
	}
	if slices.Contains(addresses, key) {
		return text
	}
	out := summary(data, why)
	if key == "html" {
		out = "<pre>" + html.EscapeString(out) + "</pre>"
	}
	return literal(out)
}

// addresses are the keys that say where a message goes, or to whom it is known.
var addresses = []string{"channel", "to", "from", "url", "api_url", "webhook_url", "routing_key", "service_key", "api_key", "user_key",
	"token", "room_id", "chat_id", "topic_arn", "target_arn", "phone_number", "project", "issue_type", "to_user", "to_party", "to_tag",
	"agent_id", "color", "priority", "severity", "class", "retry", "expire"}

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
