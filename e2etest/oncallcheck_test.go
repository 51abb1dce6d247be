package e2etest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"tocsin/notifier/pager/pagertest"
)

// What must hold of every incident once tocsin has survived: held against its record, and against what reached the
// far ends.

func (c *climbers) check() {
	pages := map[string][]pagertest.Page{} // by key
	for _, p := range c.pager.Pages() {
		pages[p.Key] = append(pages[p.Key], p.Each()...)
	}
	known := map[string]bool{}
	for _, short := range c.incidents() {
		in := c.full(short.Number)
		if in.State == "triggered" && in.Escalation == "beats" {
			continue // the heartbeat, which is silent again by now
		}
		for _, d := range in.Deliveries {
			known[d.Key] = true
			c.checkDelivery(in, d, slices.DeleteFunc(slices.Concat(pages[d.Key], pages[d.Bundle]), func(p pagertest.Page) bool { return p.Number != in.Number }))
		}
		c.checkTiers(in)
		c.checkQuiet(in)
		if in.State == "triggered" && in.NextAt.IsZero() && !in.says("exhausted") {
			c.t.Errorf("#%d is triggered, nothing follows, and nobody is said to be left", in.Number)
		}
	}
	for key, ps := range pages {
		if !known[key] && !strings.Contains(ps[0].Title, "Heartbeat worker") {
			c.t.Errorf("the pager got %s (%s, %s), of which no incident knows", key, ps[0].Type, ps[0].Path)
		}
	}
	c.checkAcks(pages)
	c.checkOverrides()
}

// checkDelivery: what is on record as delivered arrived with the content on record, what was never tried did not.
func (c *climbers) checkDelivery(in incident, d deliveryView, arrived []pagertest.Page) {
	if !strings.HasPrefix(d.Endpoint, "page:") {
		return
	}
	switch {
	case d.State == "delivered" && len(arrived) == 0:
		c.t.Errorf("#%d: %s to %s is recorded as delivered, and never arrived", in.Number, d.Kind, d.Endpoint)
	case d.State == "dropped" && d.Made == 0 && len(arrived) > 0:
		c.t.Errorf("#%d: %s to %s is recorded as never sent, and arrived", in.Number, d.Kind, d.Endpoint)
	}
	for _, p := range arrived {
		if p.Type != "incident."+d.Kind || p.Round != d.Round || p.Tier != d.Tier || p.Number != in.Number {
			c.t.Errorf("#%d: %s of round %d tier %d to %s arrived as %s of #%d round %d tier %d", in.Number, d.Kind, d.Round, d.Tier, d.Endpoint,
				p.Type, p.Number, p.Round, p.Tier)
		}
	}
}

// checkTiers: in each round the tiers were told in order and none was skipped, no earlier than their time, and nobody
// was asked twice under different keys.
func (c *climbers) checkTiers(in incident) {
	type asked struct {
		round, tier int
		endpoint    string
	}
	seen := map[asked]string{}
	last := map[int]int{}
	after := []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second}
	for _, d := range in.Deliveries {
		if d.Kind != "triggered" {
			continue
		}
		key := asked{d.Round, d.Tier, d.Endpoint}
		if seen[key] != "" {
			c.t.Errorf("#%d: tier %d of round %d asks %s twice, as %s and %s", in.Number, d.Tier, d.Round, d.Endpoint, seen[key], d.Key)
		}
		seen[key] = d.Key
		before, told := last[d.Round]
		if !told {
			before = -1
		}
		if d.Tier > before+1 {
			c.t.Errorf("#%d: tier %d of round %d is told after tier %d", in.Number, d.Tier, d.Round, before)
		}
		last[d.Round] = max(before, d.Tier)
		if in.Escalation == "ladder" && d.Round == 0 && d.CreatedAt.Before(in.TriggeredAt.Add(after[d.Tier])) && !in.says("not_delivered") {
			c.t.Errorf("#%d: tier %d is told %s after the trigger", in.Number, d.Tier, d.CreatedAt.Sub(in.TriggeredAt))
		}
	}
}

// checkQuiet: nothing asks for attention while somebody has the incident, while it is snoozed, and after its end.
func (c *climbers) checkQuiet(in incident) {
	for _, d := range in.Deliveries {
		if d.Kind != "triggered" {
			continue
		}
		kind, at := "", time.Time{}
		for _, e := range in.Timeline {
			if e.At.Truncate(time.Microsecond).After(d.CreatedAt) { // deliveries are kept to the microsecond
				break
			}
			switch e.Kind {
			case "triggered", "acknowledged", "unacknowledged", "snoozed", "unsnoozed", "resolved", "reopened":
				kind, at = e.Kind, e.At
			}
		}
		if (kind == "acknowledged" || kind == "snoozed" || kind == "resolved") && at.Before(d.CreatedAt) {
			c.t.Errorf("#%d: %s is asked at %s, after it was %s at %s", in.Number, d.Endpoint, d.CreatedAt.Format(time.StampMilli), kind, at.Format(time.StampMilli))
		}
	}
}

// checkAcks: an acknowledgement that was answered is on record from before its answer, and until it ends nothing new
// asks for attention, at the far end neither.
func (c *climbers) checkAcks(pages map[string][]pagertest.Page) {
	for _, ack := range c.acks {
		in := c.full(ack.number)
		i := slices.IndexFunc(in.Timeline, func(e timelineEntry) bool { return e.Kind == "acknowledged" && !e.At.After(ack.at) })
		if i < 0 {
			c.t.Errorf("#%d: an acknowledgement was answered at %s, and is not on record", ack.number, ack.at.Format(time.StampMilli))
			continue
		}
		ends := ack.at.Add(time.Hour)
		for _, e := range in.Timeline[i:] {
			if e.Kind == "unacknowledged" && e.At.After(ack.at) {
				ends = e.At
				break
			}
		}
		if slices.ContainsFunc(in.Timeline[i:], func(e timelineEntry) bool { return e.Kind == "unacknowledged" && e.At.Before(ack.at) }) {
			continue // it was answered after a kill, and had timed out by then
		}
		for _, p := range slices.Concat(slices.Collect(maps.Values(pages))...) {
			if p.Number == ack.number && p.Type == "incident.triggered" && decidedAt(p).After(ack.at) && decidedAt(p).Before(ends) {
				c.t.Errorf("#%d: %s is asked %s after the acknowledgement was answered", ack.number, p.Path, decidedAt(p).Sub(ack.at))
			}
		}
	}
}

// checkOverrides: each override that was answered is kept, once.
func (c *climbers) checkOverrides() {
	var list []struct{ Reason string }
	if code := c.get("/api/tocsin/v1/overrides?all=true", &list); code != http.StatusOK {
		c.t.Errorf("the overrides: HTTP %d", code)
	}
	times := map[string]int{}
	for _, o := range list {
		times[o.Reason]++
	}
	for _, reason := range c.overridden {
		if times[reason] != 1 {
			c.t.Errorf("%s is kept %d times", reason, times[reason])
		}
	}
}

// says reports that the timeline has an entry of a kind.
func (in incident) says(kind string) bool {
	return slices.ContainsFunc(in.Timeline, func(e timelineEntry) bool { return e.Kind == kind })
}

// decidedAt is when tocsin decided to send a page: its body is frozen then.
func decidedAt(p pagertest.Page) time.Time {
	var body struct{ Timestamp time.Time }
	_ = json.Unmarshal(p.Body, &body)
	return body.Timestamp
}
