package slack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// goldenCases are incidents as the core makes them, and when each is drawn.
func goldenCases() map[string]struct {
	in  oncall.Incident
	now time.Time
} {
	type c = struct {
		in  oncall.Incident
		now time.Time
	}
	one := open(42, t0, evidenced(fire(1, t0), memoryExpr))
	acked := step(one, t0.Add(time.Minute), oncall.Command{Kind: oncall.CmdAcknowledge, Actor: "ana", Via: "slack"})
	escalated := step(one, t0.Add(5*time.Minute), oncall.Tick{})
	escalated = step(escalated, t0.Add(10*time.Minute), oncall.Tick{})
	escalated = step(escalated, t0.Add(10*time.Minute), oncall.Tick{})
	gone := fire(1, t0)[0]
	gone.Status, gone.At, gone.Reason = oncall.ChangeResolved, t0.Add(17*time.Minute), "below the threshold"
	resolved := step(acked, gone.At, oncall.AlertsChanged{Changes: []oncall.AlertChange{gone}})
	lost := fire(1, t0)[0]
	lost.Status, lost.At, lost.Reason = oncall.ChangeUnknown, t0.Add(3*time.Minute), "the query failed"
	unknown := step(one, lost.At, oncall.AlertsChanged{Changes: []oncall.AlertChange{lost}})
	mute := func(n int) []oncall.AlertChange {
		cs := fire(2, t0)[:n]
		for i := range cs {
			cs[i].Status, cs[i].At, cs[i].Reason = oncall.ChangeMuted, t0.Add(3*time.Minute), "silenced by ana until 14:00: <!here> deploy"
		}
		return cs
	}
	two := open(42, t0, evidenced(fire(2, t0), memoryExpr))
	nasty := fire(2, t0)
	for i := range nasty {
		nasty[i].Labels = labels.FromStrings("alertname", "ذاكرة الجلسة", "service", "session", "severity", "*critical*",
			"instance", "<!channel> @here <@U02ANA> `rm -rf`|&"+strings.Repeat("x", 10<<10*i), "note", "a\x00b\u202ec\nd_e_")
		nasty[i].Annotations = map[string]string{"summary": "<!here> زيادة الذاكرة > 80 % & *bold* " + strings.Repeat("long ", 3000), "runbook_url": "javascript:alert(1)"}
		nasty[i].GeneratorURL = "https://user:secret@prometheus.example/graph?g0.expr=a|b<c>"
	}
	three := evidenced(fire(300, t0), memoryExpr)
	for i := range three {
		three[i].Value = fmt.Sprintf("0.%d", 801+i%150)
	}
	leak := evidenced(fire(1, t0), leakExpr)
	leak[0].Value = "1.0731"
	leak[0].Annotations["summary"] = "Memory of session-1:9100 leaks: at this pace it is full within 40 minutes"
	left := evidenced(fire(2, t0), "(session_memory_limit_bytes - session_memory_bytes) / deriv(session_memory_bytes[1h]) < 3600")
	left[0].Value, left[1].Value = "2520", "1260.5"
	return map[string]c{
		"leak":         {open(45, t0, leak), t0},
		"time-left":    {open(46, t0, left), t0},
		"one":          {one, t0},
		"many":         {open(43, t0, three), t0.Add(time.Minute)},
		"acknowledged": {acked, t0.Add(time.Minute)},
		"escalated":    {escalated, t0.Add(10 * time.Minute)},
		"resolved":     {resolved, t0.Add(17 * time.Minute)},
		"unknown":      {unknown, t0.Add(4 * time.Minute)},
		"nasty":        {open(44, t0, nasty), t0},
		"muted":        {step(two, t0.Add(3*time.Minute), oncall.AlertsChanged{Changes: mute(1)}), t0.Add(4 * time.Minute)},
		"paused":       {step(two, t0.Add(3*time.Minute), oncall.AlertsChanged{Changes: mute(2)}), t0.Add(4 * time.Minute)},
	}
}

func TestDrawGolden(t *testing.T) {
	for name, c := range goldenCases() {
		t.Run(name, func(t *testing.T) {
			d := Draw(c.in, testPolicy(), c.now)
			var got bytes.Buffer
			enc := json.NewEncoder(&got)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			if err := enc.Encode(map[string]any{"text": d.Text, "blocks": d.Blocks}); err != nil {
				t.Fatal(err)
			}
			checkDrawing(t, d)
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v (run the test with -update to write it)", err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("the message differs from %s (-want +got; -update rewrites it):\n%s", path, diff)
			}
		})
	}
}

// tb is what testing.T and rapid.T share.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// checkDrawing holds a message against the strict fake, and against everything that must never be in one.
func checkDrawing(t tb, d Drawing) {
	t.Helper()
	raw, err := json.Marshal(d.Blocks)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if err := slacktest.CheckBlocks(raw); err != nil {
		t.Errorf("Slack would refuse the blocks: %v", err)
	}
	if n := utf8.RuneCountInString(d.Text); n == 0 || n > maxText+100 {
		t.Errorf("the fallback text has %d characters", n)
	}
	for _, bad := range []string{"<!channel", "<!here", "<!everyone", "<!subteam", "<@", "<#"} {
		if strings.Contains(string(raw), strings.ReplaceAll(bad, "<", `\u003c`)) || strings.Contains(d.Text, bad) {
			t.Errorf("the message holds %q", bad)
		}
	}
}

func TestCountsAreExact(t *testing.T) {
	for _, n := range []int{2, maxInstances, maxInstances + 1, 500, 5000} {
		in := open(1, t0, fire(n, t0))
		raw, err := json.Marshal(Draw(in, testPolicy(), t0).Blocks)
		if err != nil {
			t.Fatal(err)
		}
		wants := []string{fmt.Sprintf("*%d alerts* firing", n), fmt.Sprintf("*Alerts* (all %d)", n)}
		if n > maxInstances {
			wants = []string{wants[0], fmt.Sprintf("*Alerts* (%d of %d)", maxInstances, n), fmt.Sprintf("*and %d more*", n-maxInstances), fmt.Sprintf("|all %d alerts", n)}
		}
		for _, want := range wants {
			if !strings.Contains(string(raw), want) {
				t.Errorf("%d alerts: the message does not say %q", n, want)
			}
		}
	}
}

// text draws what a label or annotation may hold, hostile things included.
func text() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"", "session", "<!channel>", "@here", "<@U02ANA>", "```", "`", "*b*", "_i_", ">q", "a|b", "\x00\x07", "\xff\xfe", "\u202eabc",
			"שלום", "ذاكرة", "&amp;", "https://x.example/?a=1&b=<2>", "javascript:1", "http://", strings.Repeat("&<>", 4000), strings.Repeat("ф", 12000), strings.Repeat("💥", 2000), "\n\n"}),
		rapid.String(),
	)
}

func anIncident(t *rapid.T) oncall.Incident {
	at := func(name string) time.Time {
		return t0.Add(time.Duration(rapid.IntRange(-1000, 1000).Draw(t, name)) * time.Minute)
	}
	in := oncall.Incident{
		Number:      rapid.Int64Range(1, 1<<60).Draw(t, "number"),
		State:       rapid.SampledFrom([]oncall.IncidentState{oncall.IncidentTriggered, oncall.IncidentAcknowledged, oncall.IncidentSnoozed, oncall.IncidentResolved, "other"}).Draw(t, "state"),
		Title:       text().Draw(t, "title"),
		Severity:    text().Draw(t, "severity"),
		GroupLabels: someLabels(t, "group"),
		TriggeredAt: at("triggered"), AcknowledgedAt: at("acknowledged"), ResolvedAt: at("resolved"), SnoozedUntil: at("snoozed"),
		AcknowledgedBy: text().Draw(t, "by"), ResolvedBy: text().Draw(t, "resolver"), Assignee: text().Draw(t, "assignee"),
		LinkedFrom: rapid.Int64Range(0, 1<<60).Draw(t, "linked"), Round: rapid.IntRange(0, 100).Draw(t, "round"), NextTier: rapid.IntRange(0, 50).Draw(t, "tier"),
		Next: text().Draw(t, "next"), NextStepAt: at("nextAt"),
	}
	for i := range rapid.IntRange(0, 40).Draw(t, "told") {
		in.Told = append(in.Told, oncall.Told{Target: text().Draw(t, "target"), Failed: i%3 == 0})
	}
	kinds := rapid.IntRange(1, 5).Draw(t, "kinds")
	var template []oncall.IncidentAlert
	for range kinds {
		template = append(template, oncall.IncidentAlert{
			Labels:      someLabels(t, "labels"),
			Annotations: map[string]string{"summary": text().Draw(t, "summary"), "runbook_url": text().Draw(t, "runbook"), "description": text().Draw(t, "description")},
			State:       rapid.SampledFrom([]oncall.AlertState{oncall.StateFiring, oncall.StateResolved}).Draw(t, "alert"),
			Value:       text().Draw(t, "value"), StartsAt: at("starts"), ResolvedAt: at("ends"), UnknownSince: at("unknown"), GeneratorURL: text().Draw(t, "generator"),
		})
	}
	for i := range rapid.SampledFrom([]int{0, 1, 2, 12, 5000}).Draw(t, "alerts") {
		in.Alerts = append(in.Alerts, template[i%kinds])
	}
	return in
}

func someLabels(t *rapid.T, name string) labels.Labels {
	m := map[string]string{"alertname": text().Draw(t, name)}
	for range rapid.IntRange(0, 20).Draw(t, name) {
		m[rapid.StringMatching(`[a-z_]{1,12}|<!here>`).Draw(t, name)] = text().Draw(t, name)
	}
	return labels.FromMap(m)
}

func TestDrawProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := testPolicy()
		p.ExternalURL = rapid.SampledFrom([]string{"", "https://tocsin.example", "http://127.0.0.1:9093/prefix"}).Draw(t, "external")
		checkDrawing(t, Draw(anIncident(t), p, t0))
	})
}

func TestText(t *testing.T) {
	for _, c := range []struct{ name, got, want string }{
		{"clean", clean(" a\x00b\tc\n\n d\u202e\u200b "), "ab c d"},
		{"clean invalid", clean("a\xffb"), "a�b"},
		{"shorten", shorten("abcdef", 4), "abc…"},
		{"shorten fits", shorten("äöü", 3), "äöü"},
		{"fit counts entities", fit("<<<<", 9), "&lt;&lt;…"},
		{"prose", prose("*a* _b_ c_d ~e~ `f` <g>", 100), "∗a∗ ˍbˍ c_d ∼e∼ ˋfˋ &lt;g&gt;"},
		{"code", code("a`b", 10), "`aˋb`"},
		{"code name", codeName("pod-with-a-long-name-1:9100", 13), "`pod-wi…1:9100`"},
		{"code empty", code("", 10), "` `"},
		{"rtl", prose("ذا", 10), "\u2068ذا\u2069"},
		{"link", link("https://a.example/?x=1&y=<z>|", "t"), "<https://a.example/?x=1&amp;y=%3Cz%3E%7C|t>"},
		{"link with password", link("https://u:p@a.example/", "t"), "<https://a.example/|t>"},
		{"link to script", link("javascript:alert(1)", "t"), ""},
		{"number", number("0.8312499999"), "0.8312"},
		{"number NaN", number("NaN"), "NaN"},
		{"number large", number("123456789"), "123456789"},
		{"span", span(17*time.Minute + 30*time.Second), "17m"},
		{"span short", span(90 * time.Second), "1m 30s"},
		{"when", when(t0, false), "<!date^1727096400^{time}|13:00 UTC>"},
		{"block", codeBlock("a\n  b`\n", 100), "```\na\n  bˋ\n```"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
}
