package pager

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"tocsin/oncall"
)

// Bounds of the Events API v2.
const (
	maxSummary = 1024    // characters
	maxField   = 1024    // characters of what has no bound of its own
	maxEvent   = 500_000 // bytes; PagerDuty takes 512 KB
	maxLinks   = 20
)

// pdEvent is an event as PagerDuty takes it.
type pdEvent struct {
	RoutingKey  string     `json:"routing_key"`
	EventAction string     `json:"event_action"`
	DedupKey    string     `json:"dedup_key"`
	Payload     *pdPayload `json:"payload,omitempty"`
	Images      []pdImage  `json:"images,omitempty"`
	Links       []pdLink   `json:"links,omitempty"`
	Client      string     `json:"client,omitempty"`
	ClientURL   string     `json:"client_url,omitempty"`
}

type pdPayload struct {
	Summary       string         `json:"summary"`
	Source        string         `json:"source"`
	Severity      string         `json:"severity"`
	Timestamp     string         `json:"timestamp,omitempty"`
	Component     string         `json:"component,omitempty"`
	Group         string         `json:"group,omitempty"`
	Class         string         `json:"class,omitempty"`
	CustomDetails map[string]any `json:"custom_details,omitempty"`
}

type pdLink struct {
	Href string `json:"href"`
	Text string `json:"text,omitempty"`
}

type pdImage struct {
	Src  string `json:"src"`
	Href string `json:"href,omitempty"`
	Alt  string `json:"alt,omitempty"`
}

// event is what PagerDuty is told by this attempt.
func (t *attempt) event(ctx context.Context) pdEvent {
	e := pdEvent{RoutingKey: t.key, DedupKey: t.m.Incident.Key}
	switch t.m.Delivery.Kind {
	case oncall.KindAcknowledged:
		e.EventAction = "acknowledge"
		return e
	case oncall.KindResolved:
		e.EventAction = "resolve"
		return e
	}
	e.EventAction = "trigger"
	f := factsOf(t.m.Incident, t.o.ExternalURL)
	words := t.words(ctx)
	e.Client = cut(cmp.Or(text(words, "client"), "tocsin"), maxField)
	e.ClientURL = cmp.Or(link(text(words, "client_url")), f.URL)
	e.Links, e.Images = f.pdLinks(words), pdImages(words)
	e.Payload = &pdPayload{
		Summary: cut(cmp.Or(text(words, "description"), f.title(maxSummary)), maxSummary),
		Source:  cut(cmp.Or(text(words, "source"), f.source()), maxField), Severity: pdSeverity(text(words, "severity"), f.Severity),
		Timestamp: f.TriggeredAt.UTC().Format(time.RFC3339),
		Component: cut(cmp.Or(text(words, "component"), f.label("component", "service", "app", "job")), maxField),
		Group:     cut(cmp.Or(text(words, "group"), f.label("cluster", "namespace", "environment", "env")), maxField),
		Class:     cut(cmp.Or(text(words, "class"), f.label(model.AlertNameLabel)), maxField),
	}
	f.fitDetails(&e, words)
	return e
}

// pdSeverity is the first of some words for a severity that means something, in PagerDuty's. Alertmanager's default is
// "error".
func pdSeverity(given ...string) string {
	for _, s := range given {
		if r := rank(s); r > 0 {
			return []string{"info", "warning", "error", "critical"}[r-1]
		}
	}
	return "error"
}

// pdLinks are the incident, its runbook and graph, and what the user added.
func (f *facts) pdLinks(words map[string]any) (out []pdLink) {
	for _, l := range []pdLink{{f.URL, fmt.Sprintf("Incident #%d in tocsin", f.Number)}, {f.runbook, "Runbook"}, {f.graph, "Graph"}} {
		if l.Href != "" {
			out = append(out, l)
		}
	}
	for _, l := range list(words, "links") {
		if href := link(text(l, "href")); href != "" && len(out) < maxLinks {
			out = append(out, pdLink{href, cut(text(l, "text"), maxField)})
		}
	}
	return out
}

// pdImages are the user's: tocsin's own charts have no address that PagerDuty could load them from.
func pdImages(words map[string]any) (out []pdImage) {
	for _, i := range list(words, "images") {
		if src := link(text(i, "src")); src != "" && len(out) < maxLinks {
			out = append(out, pdImage{Src: src, Href: link(text(i, "href")), Alt: cut(text(i, "alt"), maxField)})
		}
	}
	return out
}

// details are what PagerDuty shows of the incident, with at most so many alerts in each list and characters in each
// text. Counts are exact.
func (f *facts) details(most, limit int) map[string]any {
	d := map[string]any{
		"state": string(f.State), "escalation": f.Escalation, "why": cut(f.Why, limit),
		"num_firing": fmt.Sprint(len(f.firing)), "num_resolved": fmt.Sprint(len(f.resolved)), // texts, as Alertmanager's are
		"labels": shortMap(f.Labels.Map(), limit),
		"firing": alertViews(f.firing, most, limit), "resolved": alertViews(f.resolved, most, limit),
	}
	if n := f.number(); n != "" {
		d["incident"] = n
	}
	if f.Severity != "" {
		d["severity"] = cut(f.Severity, limit)
	}
	if shown := max(len(f.firing), len(f.resolved)); shown > most {
		d["shortened"] = fmt.Sprintf("at most %d alerts are listed of each; the counts are exact, and tocsin's page shows all", most)
	}
	if f.Round > 0 {
		d["round"] = f.Round
	}
	return d
}

// fitDetails writes the details into the event, the user's over ours, leaving out more of them until it fits.
func (f *facts) fitDetails(e *pdEvent, words map[string]any) {
	own, _ := words["details"].(map[string]any)
	for _, s := range []struct{ most, limit int }{{100, 2000}, {50, 1000}, {20, 400}, {5, 200}, {0, 100}} {
		d := f.details(s.most, s.limit)
		maps.Copy(d, own)
		if failed := text(words, failedKey); failed != "" {
			d[failedKey] = failed
		}
		e.Payload.CustomDetails = d
		if size(e) <= maxEvent {
			return
		}
	}
	d := f.details(0, 100)
	for _, key := range slices.Sorted(maps.Keys(own)) { // small ones say more than one that is too large
		before, had := d[key]
		if d[key] = own[key]; size(e) > maxEvent || size(own[key]) > maxEvent/10 {
			d[key] = before
			if !had {
				delete(d, key)
			}
			d["left_out"] = "details of the configuration that are too large for PagerDuty"
		}
		e.Payload.CustomDetails = d
	}
	if size(e) > maxEvent {
		e.Payload.CustomDetails = f.details(0, 100)
		e.Links, e.Images = nil, nil
	}
}

// size is how many bytes v takes as JSON.
func size(v any) int {
	b, err := json.Marshal(v)
	if err != nil {
		return maxEvent + 1 // what cannot be written does not fit
	}
	return len(b)
}
