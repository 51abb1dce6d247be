package pager

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// facts are an incident as PagerDuty and Opsgenie are told of it.
type facts struct {
	oncall.IncidentView
	firing, resolved []oncall.IncidentAlert
	runbook, graph   string // links, "" for none
}

func factsOf(in oncall.Incident, externalURL string) facts {
	f := facts{IncidentView: oncall.View(in, externalURL)}
	if in.Number == 0 { // a test page, about an incident that is in no store
		f.URL = ""
	}
	for _, a := range in.Alerts {
		if a.State == oncall.StateFiring {
			f.firing = append(f.firing, a)
		} else {
			f.resolved = append(f.resolved, a)
		}
	}
	for _, a := range slices.Concat(f.firing, f.resolved) {
		f.runbook = cmp.Or(f.runbook, link(a.Annotations["runbook_url"]), link(a.Annotations["runbook"]))
		f.graph = cmp.Or(f.graph, link(a.GeneratorURL))
	}
	return f
}

// link returns s if it is an address that a person can follow.
func link(s string) string {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	return u.String()
}

// title names the incident with its number, and says how many alerts it has if that is more than one.
func (f *facts) title(limit int) string {
	number, more := f.number(), ""
	if number != "" {
		number += " "
	}
	if n := len(f.firing); n > 1 {
		more = fmt.Sprintf(" (%d alerts firing)", n)
	}
	return number + cut(f.Title, max(1, limit-len(number)-len(more))) + more
}

// number is the incident's, "" for that of a test page.
func (f *facts) number() string {
	if f.Number == 0 {
		return ""
	}
	return fmt.Sprintf("#%d", f.Number)
}

// label returns the value of the first of some labels that all alerts share, "" if they share none.
func (f *facts) label(names ...string) string {
	for _, name := range names {
		if v := f.Labels.Get(name); v != "" {
			return v
		}
	}
	return ""
}

// source is what the incident is about, as far as the labels say.
func (f *facts) source() string {
	if v := f.label("instance", "host", "node", "pod", "service", "job"); v != "" {
		return v
	}
	var parts []string
	f.GroupLabels.Range(func(l labels.Label) {
		if l.Name != model.AlertNameLabel {
			parts = append(parts, l.Name+"="+l.Value)
		}
	})
	return cmp.Or(strings.Join(parts, ", "), "tocsin")
}

// summary says of an alert what tells it from the others.
func summary(a oncall.IncidentAlert, limit int) string {
	s := a.Annotations["summary"]
	if s == "" {
		s = a.Labels.String()
	}
	s = cut(oneLine(s), limit)
	if a.Value != "" {
		s += " (value " + cut(a.Value, 40) + ")"
	}
	return s
}

// alertView is an alert in the terms that Alertmanager's notifications use, so that rules at a far end go on working.
func alertView(a oncall.IncidentAlert, limit int) map[string]any {
	v := map[string]any{
		"status": string(a.State), "labels": shortMap(a.Labels.Map(), limit), "annotations": shortMap(a.Annotations, limit),
		"startsAt": a.StartsAt.UTC().Format(time.RFC3339), "fingerprint": string(a.Fingerprint),
	}
	if a.Value != "" {
		v["value"] = cut(a.Value, limit)
	}
	if u := link(a.GeneratorURL); u != "" && len(u) <= 4*limit {
		v["generatorURL"] = u
	}
	if !a.ResolvedAt.IsZero() {
		v["endsAt"] = a.ResolvedAt.UTC().Format(time.RFC3339)
	}
	if !a.MutedSince.IsZero() {
		v["muted"] = cut(a.MutedWhy, limit)
	}
	return v
}

func alertViews(all []oncall.IncidentAlert, most, limit int) []map[string]any {
	out := make([]map[string]any, 0, min(most, len(all)))
	for _, a := range all[:min(most, len(all))] {
		out = append(out, alertView(a, limit))
	}
	return out
}

func shortMap(m map[string]string, limit int) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[cut(k, limit)] = cut(v, limit)
	}
	return out
}

// cut shortens s to at most n characters, with an ellipsis where something is missing.
func cut(s string, n int) string {
	if len(s) <= n { // bytes: no more characters than that
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	r := []rune(s)
	if len(r) <= n {
		return string(r)
	}
	if n < 1 {
		return ""
	}
	return string(r[:n-1]) + "…"
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// ranks are severities in the field's common use, from mild (1) to worst (4). 0: no such word.
var ranks = map[string]int{
	"none": 1, "info": 1, "informational": 1, "low": 1, "notice": 1, "warning": 2, "warn": 2, "medium": 2,
	"error": 3, "high": 3, "major": 3, "critical": 4, "page": 4, "fatal": 4, "emergency": 4, "disaster": 4,
}

func rank(severity string) int { return ranks[strings.ToLower(strings.TrimSpace(severity))] }
