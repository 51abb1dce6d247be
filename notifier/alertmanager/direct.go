package alertmanager

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/notify/opsgenie"
	"github.com/prometheus/alertmanager/notify/pagerduty"
	amtemplate "github.com/prometheus/alertmanager/template"
	promconfig "github.com/prometheus/common/config"

	"tocsin/notifier"
	"tocsin/oncall"
)

// PagerDuty and Opsgenie keep incidents of their own. Those of tocsin are brought to them by senders that know
// acknowledgements (notifier/pager); this file gives those senders what the entries of Alertmanager's lists say.
// Groups of routes are told by Alertmanager's own notifiers all the same.

// Direct is an entry of pagerduty_configs or opsgenie_configs that such a sender can serve.
type Direct struct {
	URL          *url.URL
	Named        bool                   // URL is not the vendor's own: somebody has written it
	Key          func() (string, error) // the routing or API key; a file is read at each call, as Alertmanager does. Errors hold no secrets.
	HTTP         promconfig.HTTPClientConfig
	Timeout      time.Duration // 0: not set
	UpdateAlerts bool          // opsgenie_configs' update_alerts
}

// String keeps the key out of dumps.
func (d Direct) String() string { return "direct entry for " + d.URL.Host }

// directLists are the lists whose entries are told of incidents by a sender of tocsin's own.
var directLists = []string{"pagerduty_configs", "opsgenie_configs"}

// Direct returns the entries that the sender of a list can serve. What is missing is left to Alertmanager's notifier:
// keys of the Events API v1, and keys that are templates.
func (c *Config) Direct(list string) map[oncall.Endpoint]Direct {
	all := map[oncall.Endpoint]Direct{}
	if c == nil || !slices.Contains(directLists, list) {
		return all
	}
	for _, r := range c.config.Receivers {
		entries := listOf(&r, list)
		for i := range entries.Len() {
			if d, ok := directOf(entries.Index(i)); ok {
				all[oncall.IntegrationEndpoint(list, r.Name, i)] = d
			}
		}
	}
	return all
}

// directOf is an entry as its sender needs it, and whether that can serve it.
func directOf(entry reflect.Value) (d Direct, ok bool) {
	switch conf := entry.Interface().(type) {
	case *pagerduty.PagerdutyConfig:
		if conf.ServiceKey != "" || conf.ServiceKeyFile != "" {
			return d, false
		}
		d = Direct{URL: conf.URL.URL, Named: conf.URL.Host != "events.pagerduty.com", HTTP: *conf.HTTPConfig, Timeout: conf.Timeout}
		d.Key, ok = keyOfEntry(string(conf.RoutingKey), conf.RoutingKeyFile)
	case *opsgenie.OpsGenieConfig:
		d = Direct{URL: conf.APIURL.URL, Named: !strings.HasSuffix(conf.APIURL.Host, ".opsgenie.com"), HTTP: *conf.HTTPConfig, UpdateAlerts: conf.UpdateAlerts}
		d.Key, ok = keyOfEntry(string(conf.APIKey), conf.APIKeyFile)
	}
	return d, ok
}

// keyOfEntry returns how an entry's key is found. It is not ok where the key is a template.
func keyOfEntry(literal, file string) (key func() (string, error), ok bool) {
	if literal != "" {
		return func() (string, error) { return literal, nil }, !strings.Contains(literal, "{{")
	}
	key = func() (string, error) {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("its key cannot be read: %w", err)
		}
		return strings.TrimSpace(string(content)), nil
	}
	text, err := key()
	return key, err != nil || !strings.Contains(text, "{{") // a file may come later: its sender says so until it does
}

// wordKeys are the keys of an entry that say something to people or to rules at the far end.
var wordKeys = map[string][]string{
	"pagerduty_configs": {"description", "severity", "source", "class", "component", "group", "client", "client_url", "details", "images", "links"},
	"opsgenie_configs":  {"message", "description", "source", "details", "entity", "responders", "actions", "tags", "note", "priority"},
}

// Words are the texts that the user has written into an entry of a direct list, rendered for a message about an
// incident: a tree of texts, lists and mappings by the entry's keys. What is Alertmanager's own text is not in it, unless
// the user's template files say it otherwise: there an incident has words of its own. A text that cannot be
// rendered is left out, and failed names the first of them; it holds no secrets.
func (s *Senders) Words(ctx context.Context, m notifier.Message) (words map[string]any, failed error) {
	i := s.integrations[m.Delivery.Endpoint]
	if i == nil || !i.words.IsValid() {
		return nil, nil
	}
	n, _ := incidentNotice(m)
	ctx = s.context(ctx, i, n, storeOf(""))
	w := &wording{s: s, i: i, data: notify.GetTemplateData(ctx, s.theirs, n.alerts, s.log)}
	words = map[string]any{}
	conf := i.words.Elem()
	for f := range conf.NumField() {
		key, _ := yamlKey(conf.Type().Field(f))
		if !slices.Contains(wordKeys[i.list], key) {
			continue
		}
		if value := w.render([]any{key}, conf.Field(f)); value != nil {
			words[key] = value
		}
	}
	if w.failed != nil {
		s.metrics.plain.WithLabelValues(i.list).Inc()
		failed = fmt.Errorf("a template failed: %s", clean(templateError(w.failed), secretsOf(i.conf)))
		s.log.Error("A template failed: the incident's own words stand for it", "endpoint", i.endpoint, "err", failed)
	}
	return words, failed
}

// wording renders the texts of one entry.
type wording struct {
	s      *Senders
	i      *integration
	data   *amtemplate.Data
	failed error
}

// render returns a value with its texts rendered, nil where nothing is left of it.
func (w *wording) render(path []any, v reflect.Value) any {
	at := func(step any) []any { return append(path[:len(path):len(path)], step) }
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return w.render(path, v.Elem())
	case reflect.String:
		return w.text(path, v.String())
	case reflect.Slice:
		var out []any
		for i := range v.Len() {
			if value := w.render(at(i), v.Index(i)); value != nil {
				out = append(out, value)
			}
		}
		return orNil(out, len(out))
	case reflect.Map:
		out := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			key := mapKey(it.Key())
			if value := w.render(at(key), it.Value()); value != nil {
				out[key] = value
			}
		}
		return orNil(out, len(out))
	case reflect.Struct:
		out := map[string]any{}
		for i := range v.NumField() {
			key, _ := yamlKey(v.Type().Field(i))
			if value := w.render(at(key), v.Field(i)); value != nil {
				out[key] = value
			}
		}
		return orNil(out, len(out))
	}
	return v.Interface()
}

func orNil(v any, n int) any {
	if n == 0 {
		return nil
	}
	return v
}

// text renders a text. nil: the user has not written it, it is empty, or it failed. Details of PagerDuty may render
// to YAML, which then stands for them, as in Alertmanager.
func (w *wording) text(path []any, text string) any {
	if text == "" {
		return nil
	}
	own := ownTexts()[w.i.list][pathText(path)] == text
	if own && !w.i.files {
		return nil
	}
	fail := func(err error) {
		if w.failed == nil {
			w.failed = fmt.Errorf("%s: %w", pathText(path), err)
		}
	}
	out, err := w.s.texts.render(text, w.data, w.data.RouteLabels)
	if err != nil {
		fail(err)
		return nil
	}
	if own { // the user's template files may have redefined what it calls
		if plain, err := w.s.plain.render(text, w.data, w.data.RouteLabels); err == nil && plain == out {
			return nil
		}
	}
	if out == "" {
		return nil
	}
	if w.i.list == "pagerduty_configs" && path[0] == "details" {
		if v, err := amtemplate.DeepCopyWithTemplate(out, func(s string) (string, error) { return s, nil }); err == nil {
			return v
		}
	}
	return out
}
