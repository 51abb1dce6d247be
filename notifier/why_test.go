package notifier_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	"tocsin/notifier/pager/pagertest"
	"tocsin/oncall"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); -update rewrites it:\n%s", file, diff)
	}
}

func (r *rig) why(number int64) string {
	r.t.Helper()
	text, err := r.acts.Why(r.t.Context(), number)
	if err != nil {
		r.t.Fatal(err)
	}
	return text
}

// record commits the alert's change together with the steps that led to it, as the evaluator does.
func (r *rig) record(service string) {
	c := alertOf(service)
	now := time.Now()
	c.Status, c.At, c.StartsAt, c.Evidence.At = oncall.ChangeFiring, now, now, now
	bare := labels.NewBuilder(c.Labels).Del("cluster").Labels() // the external label is not the rule's
	step := oncall.Transition{
		Rule: "memory", Fingerprint: oncall.FingerprintOf(bare), Labels: bare, At: now.Add(-2 * time.Minute),
		From: oncall.StateInactive, To: oncall.StatePending, Reason: "above the threshold", Evidence: c.Evidence,
	}
	fired := step
	fired.At, fired.From, fired.To, fired.Reason = now, oncall.StatePending, oncall.StateFiring, c.Reason
	old, gone := step, fired // an earlier time that this incident has nothing to do with
	old.At = now.Add(-time.Hour)
	gone.At, gone.From, gone.To = now.Add(-50*time.Minute), oncall.StatePending, oncall.StateInactive
	r.evaluate(oncall.Evaluation{
		At: now, Transitions: []oncall.Transition{old, gone, step, fired}, Changes: []oncall.AlertChange{c},
	})
}

func TestWhy(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.pass(time.Hour)
		r.far.Fail(pagertest.Fault{Status: 503, Body: "too\tbusy\x1b[31m"}, pagertest.ResetAfter)
		r.record("session")
		r.pass(90 * time.Second)
		golden(t, "why-triggered.txt", r.why(1))
		r.pass(5 * time.Minute)
		r.act(1, oncall.CmdAcknowledge, "")
		r.pass(time.Minute)
		golden(t, "why-acknowledged.txt", r.why(1))
		r.change(oncall.ChangeResolved, "session")
		r.pass(time.Minute)
		golden(t, "why-resolved.txt", r.why(1))
	})
}

func TestWhyOfASilencedIncident(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("session")
		r.pass(2 * time.Second)
		if _, err := r.silencing(&silencer{}).Silence(t.Context(), 1, oncall.SilenceWish{For: time.Hour, Comment: "deploy", Actor: "ana", Via: "slack"}, ""); err != nil {
			t.Fatal(err)
		}
		muted := alertOf("session")
		muted.Status, muted.At, muted.Reason = oncall.ChangeMuted, time.Now(), "silenced by ana until 01:00 UTC: deploy"
		r.evaluate(oncall.Evaluation{At: time.Now(), Changes: []oncall.AlertChange{muted}})
		r.pass(10 * time.Minute)
		golden(t, "why-paused.txt", r.why(1))
	})
}

func TestWhyAsData(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.record("session")
		e, err := r.acts.WhyData(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Alerts) != 1 || len(e.Alerts[0].Transitions) != 2 || e.Alerts[0].Transitions[1].To != oncall.StateFiring {
			t.Errorf("the record of the alert is %+v", e.Alerts)
		}
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{secret, oncall.LinkToken(r.policy.LinkKey, r.delivery(1, ana, oncall.KindTriggered).Key)} {
			if strings.Contains(string(b), s) || strings.Contains(r.why(1), s) {
				t.Errorf("the explanation shows %q", s)
			}
		}
		if _, err := r.acts.WhyData(t.Context(), 7); oncall.ErrorCode(err) != oncall.CodeNotFound {
			t.Errorf("error %v", err)
		}
	})
}

// TestWhyRoundsNoSetting: what stands in the rule is repeated as it stands there.
func TestWhyRoundsNoSetting(t *testing.T) {
	e := notifier.Explanation{At: time.Unix(1000, 0), Incident: oncall.IncidentView{
		Number: 1, State: oncall.IncidentTriggered, TriggeredAt: time.Unix(0, 0),
		Alerts: []oncall.IncidentAlert{{Labels: labels.FromStrings("alertname", "A"), Evidence: oncall.Evidence{For: 1500 * time.Millisecond}}},
	}}
	if text := e.Text(); !strings.Contains(text, "1s500ms") {
		t.Errorf("for is not what the rule says:\n%s", text)
	}
}

func TestWhyControlsNoTerminal(t *testing.T) {
	e := notifier.Explanation{At: time.Unix(1000, 0), Incident: oncall.IncidentView{
		Number: 1, State: oncall.IncidentTriggered, Title: "a\x1b[2J\r\nb\u202e\u0085", TriggeredAt: time.Unix(0, 0),
		Timeline: []oncall.TimelineEntry{{Text: "note\n\nWhat happens next\n  nothing"}},
	}}
	text := e.Text()
	if regexp.MustCompile(`[\x00-\x09\x0b-\x1f\x7f\x{80}-\x{9f}\x{202e}]`).MatchString(text) {
		t.Errorf("control characters in %q", text)
	}
	if n := strings.Count(text, "\nWhat happens next\n"); n != 1 {
		t.Errorf("a note forged a heading:\n%s", text)
	}
}
