package oncall_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

func alertsOf(sets ...labels.Labels) []oncall.IncidentAlert {
	var as []oncall.IncidentAlert
	for _, ls := range sets {
		as = append(as, oncall.IncidentAlert{Fingerprint: oncall.FingerprintOf(ls), Labels: ls, State: oncall.StateFiring})
	}
	return as
}

func TestSilenceOf(t *testing.T) {
	now := time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)
	a := labels.FromStrings("alertname", "A", "instance", "1", "team", "shop")
	b := labels.FromStrings("alertname", "B+", "instance", "2", "team", "shop")
	wish := oncall.SilenceWish{For: 2 * time.Hour, Comment: " deploy ", Actor: "ana", Via: "slack"}
	for _, tc := range []struct {
		name   string
		group  labels.Labels
		alerts []oncall.IncidentAlert
		change func(*oncall.SilenceWish)
		want   string // matchers
		err    string
	}{
		{name: "the group's labels", group: labels.FromStrings("service", "session", "team", `a"b`), alerts: alertsOf(a), want: `{service="session",team="a\"b"}`},
		{name: "without any, what the alerts share", alerts: alertsOf(a), want: `{alertname="A",instance="1",team="shop"}`},
		{name: "of several", alerts: alertsOf(a, b), want: `{alertname=~"A|B\\+",team="shop"}`},
		{name: "nothing shared", alerts: alertsOf(labels.FromStrings("x", "1"), labels.FromStrings("y", "1")), err: "share no label"},
		{name: "no alerts", err: "share no label"},
		{name: "until", group: a, change: func(w *oncall.SilenceWish) { w.For, w.Until = 0, now.Add(time.Hour) }, want: a.String()},
		{name: "no comment", group: a, change: func(w *oncall.SilenceWish) { w.Comment = " \n" }, err: "needs a comment"},
		{name: "a long comment", group: a, change: func(w *oncall.SilenceWish) { w.Comment = strings.Repeat("x", 2001) }, err: "too long"},
		{name: "no end", group: a, change: func(w *oncall.SilenceWish) { w.For = 0 }, err: "for how long?"},
		{name: "two ends", group: a, change: func(w *oncall.SilenceWish) { w.Until = now.Add(time.Hour) }, err: "not both"},
		{name: "the past", group: a, change: func(w *oncall.SilenceWish) { w.For, w.Until = 0, now }, err: "in the future"},
		{name: "too long", group: a, change: func(w *oncall.SilenceWish) { w.For = 31 * 24 * time.Hour }, err: "time_intervals"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := wish
			if tc.change != nil {
				tc.change(&w)
			}
			s, err := oncall.SilenceOf(oncall.Incident{Number: 42, GroupLabels: tc.group, Alerts: tc.alerts}, w, now)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || oncall.ErrorCode(err) != oncall.CodeInvalid {
					t.Fatalf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, want := s.Matchers.String(), strings.ReplaceAll(tc.want, ", ", ","); got != want {
				t.Errorf("matchers %s, want %s", got, want)
			}
			if s.Incident != 42 || s.Comment != "deploy" || s.CreatedBy != "ana" || !s.StartsAt.Equal(now) || !s.EndsAt.After(now) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestSilenceOfCoversItsAlerts: whatever the alerts carry, the silence matches all that fire, and not an
// alert without labels.
func TestSilenceOfCoversItsAlerts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		value := rapid.SampledFrom([]string{"", "a", "b", "a|b", ".*", `q"\`, "ü"})
		var sets []labels.Labels
		for range rapid.IntRange(1, 4).Draw(rt, "alerts") {
			sets = append(sets, labels.FromStrings("alertname", value.Draw(rt, "alertname"), "service", value.Draw(rt, "service"), "x", value.Draw(rt, "x")))
		}
		in := oncall.Incident{Number: 1, Alerts: alertsOf(sets...)}
		if rapid.Bool().Draw(rt, "grouped") {
			in.GroupLabels = oncall.PlaceAlert(oncall.AlertChange{Labels: sets[0], GroupBy: []string{"service"}}, oncall.Policy{}).GroupLabels
			in.Alerts = in.Alerts[:1]
		}
		s, err := oncall.SilenceOf(in, oncall.SilenceWish{For: time.Hour, Comment: "c", Actor: "ana"}, time.Unix(0, 0))
		if err != nil {
			return
		}
		matches := func(ls labels.Labels) bool {
			for _, m := range s.Matchers {
				if !m.Matches(ls.Get(m.Name)) {
					return false
				}
			}
			return true
		}
		for _, a := range in.Alerts {
			if !matches(a.Labels) {
				rt.Fatalf("%s does not match %s", s.Matchers, a.Labels)
			}
		}
		if matches(labels.EmptyLabels()) {
			rt.Fatalf("%s matches everything", s.Matchers)
		}
	})
}
