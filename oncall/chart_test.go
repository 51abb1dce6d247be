package oncall_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// charting lets one incident run with charts: it keeps what is decided as a store does.
type charting struct {
	in oncall.Incident
	p  oncall.Policy
}

func newCharting(charts bool, expr string, now time.Time) *charting {
	c := &charting{p: oncall.Policy{Charts: charts, Escalations: map[string]oncall.Escalation{"team": {Name: "team",
		Tiers: []oncall.Tier{{Targets: []oncall.Target{{Kind: oncall.TargetSlack, Name: "#team"}}}}}}}}
	c.in = oncall.Incident{Number: 1, Key: "inc-1", Escalation: "team"}
	c.step(now, oncall.AlertsChanged{Changes: []oncall.AlertChange{c.change(oncall.ChangeFiring, expr, now)}})
	return c
}

func (c *charting) change(status oncall.ChangeStatus, expr string, now time.Time) oncall.AlertChange {
	return oncall.AlertChange{At: now, Source: "rule:1", Status: status, Labels: labels.FromStrings("alertname", "A"), StartsAt: now, Reason: "so",
		Escalation: "team", Evidence: oncall.Evidence{Expr: expr}}
}

func (c *charting) step(now time.Time, ev oncall.Event) {
	d := oncall.Decide(now, c.in, ev, c.p)
	if !d.Changed {
		return
	}
	before := c.in
	c.in = d.Incident
	c.in.Alerts, c.in.Deliveries = before.Alerts, append(before.Deliveries, d.Deliveries...)
	for _, a := range d.Alerts {
		c.in.Alerts = []oncall.IncidentAlert{a}
	}
}

// finish lets the latest delivery of a kind end in a state.
func (c *charting) finish(now time.Time, kind oncall.DeliveryKind, state oncall.DeliveryState) {
	for i := len(c.in.Deliveries) - 1; i >= 0; i-- {
		d := &c.in.Deliveries[i]
		if d.Kind == kind && !d.State.Final() {
			d.State, d.Attempts = state, d.Attempts+1
			c.step(now, oncall.DeliveryFinished{Key: d.Key, State: state})
			return
		}
	}
}

// charts are the charts that were asked for.
func (c *charting) charts() string {
	var out []string
	for _, d := range c.in.Deliveries {
		if d.Kind != oncall.KindChart {
			continue
		}
		var w oncall.ChartWish
		if err := json.Unmarshal(d.Body, &w); err != nil {
			return err.Error()
		}
		out = append(out, fmt.Sprintf("%s ended=%t priority %d target %q", d.Endpoint, w.Ended, d.Priority, d.Target))
	}
	return strings.Join(out, "; ")
}

func TestCharts(t *testing.T) {
	t0 := time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)
	at := func(m int) time.Time { return t0.Add(time.Duration(m) * time.Minute) }
	const first, last = `chart:#team ended=false priority 2 target ""`, `chart:#team ended=true priority 2 target ""`
	t.Run("none for a member of a bundle, whose first has one", func(t *testing.T) {
		c := newCharting(true, "a > 1", t0)
		c.in.Deliveries[0].Bundle, c.in.Deliveries[0].Bundled = "msg_first", 3
		c.finish(at(1), oncall.KindMessage, oncall.DeliveryDelivered)
		c.step(at(2), oncall.AlertsChanged{Changes: []oncall.AlertChange{c.change(oncall.ChangeResolved, "a > 1", at(2))}})
		if got := c.charts(); got != "" {
			t.Errorf("charts: %s", got)
		}
		c = newCharting(true, "a > 1", t0)
		c.in.Deliveries[0].Bundled = 3
		c.finish(at(1), oncall.KindMessage, oncall.DeliveryDelivered)
		if got := c.charts(); got != first {
			t.Errorf("charts of the first: %s", got)
		}
	})
	t.Run("after the message, and once more at the end", func(t *testing.T) {
		c := newCharting(true, "a > 1", t0)
		if got := c.charts(); got != "" {
			t.Fatalf("before the message is there: %s", got)
		}
		c.finish(at(1), oncall.KindMessage, oncall.DeliveryDelivered)
		c.finish(at(1), oncall.KindChart, oncall.DeliveryDelivered)
		if got := c.charts(); got != first {
			t.Fatalf("got %s", got)
		}
		c.step(at(5), oncall.AlertsChanged{Changes: []oncall.AlertChange{c.change(oncall.ChangeResolved, "a > 1", at(5))}})
		if got := c.charts(); got != first+"; "+last {
			t.Fatalf("got %s", got)
		}
		if n := len(c.in.Notifications); n != 0 || c.in.State != oncall.IncidentResolved {
			t.Errorf("%d notifications, %s", n, c.in.State)
		}
	})
	t.Run("its failure means nothing", func(t *testing.T) {
		c := newCharting(true, "a > 1", t0)
		c.finish(at(0), oncall.KindMessage, oncall.DeliveryDelivered)
		before := fmt.Sprint(c.in.Notifications, c.in.Told, c.in.Next, c.in.Revision)
		c.finish(at(1), oncall.KindChart, oncall.DeliveryRefused)
		if after := fmt.Sprint(c.in.Notifications, c.in.Told, c.in.Next, c.in.Revision); after != before {
			t.Errorf("before %s\nafter %s", before, after)
		}
	})
	t.Run("one that still waits shows the end too", func(t *testing.T) {
		c := newCharting(true, "a > 1", t0)
		c.finish(at(0), oncall.KindMessage, oncall.DeliveryDelivered)
		c.step(at(1), oncall.AlertsChanged{Changes: []oncall.AlertChange{c.change(oncall.ChangeResolved, "a > 1", at(1))}})
		if got := c.charts(); got != first {
			t.Errorf("got %s", got)
		}
	})
	t.Run("none", func(t *testing.T) {
		for name, c := range map[string]*charting{"switched off": newCharting(false, "a > 1", t0), "evaluated elsewhere": newCharting(true, "", t0)} {
			c.finish(at(0), oncall.KindMessage, oncall.DeliveryDelivered)
			if got := c.charts(); got != "" {
				t.Errorf("%s: %s", name, got)
			}
		}
	})
}

func TestChartsAreGivenUp(t *testing.T) {
	t0 := time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)
	d := oncall.Delivery{Kind: oncall.KindChart, Endpoint: "chart:#team", CreatedAt: t0}
	for _, c := range []struct {
		name  string
		after time.Duration
		a     oncall.Attempt
		want  oncall.DeliveryState
	}{
		{"first try", 0, oncall.Attempt{Number: 1, Outcome: oncall.OutcomeRetry}, oncall.DeliveryQueued},
		{"fourth try", time.Minute, oncall.Attempt{Number: 4, Outcome: oncall.OutcomeRetry}, oncall.DeliveryRefused},
		{"too late", time.Hour, oncall.Attempt{Number: 1, Outcome: oncall.OutcomeRetry}, oncall.DeliveryRefused},
		{"to be held for long", 0, oncall.Attempt{Number: 1, Outcome: oncall.OutcomeRetry, RetryAfter: time.Hour}, oncall.DeliveryRefused},
		{"perhaps posted", 0, oncall.Attempt{Number: 1, Outcome: oncall.OutcomeUnknown}, oncall.DeliveryRefused},
	} {
		got, _ := oncall.AfterAttempt(t0.Add(c.after), d, c.a)
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		d := d
		d.State = got
		if text := oncall.AttemptEntry(d, c.a).Text; got == oncall.DeliveryRefused && !strings.Contains(text, "the thread in #team, attempt") {
			t.Errorf("%s: %q", c.name, text)
		}
	}
}
