package e2etest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"
)

// What the climbers do, each until the killing is over.

// unanswered lets everybody be told, twice. In the first round a second contact may be cut short: after a downtime the
// next round may be due before it is.
func (c *climbers) unanswered(instance string) {
	c.fire("ladder", instance, time.Hour, "a")
	var number int64
	for tier, path := range []string{"/team", "-sms", "-phone", "/fay-sms"} {
		if tier == 1 && c.onlyHal(instance, 1) {
			path = "-phone" // hal has no second way
		}
		p, ok := c.waitFor(instance, 1, tier, path)
		if !ok {
			return
		}
		number = p.Number
	}
	var told []string
	for _, e := range c.full(number).Timeline {
		if e.Kind == "escalated" && strings.Contains(e.Text, " tier is told: ") {
			told = append(told, strings.Fields(e.Text)[1])
		}
	}
	if !slices.Equal(told, strings.Fields("first second third fourth first second third fourth")) {
		c.t.Errorf("%s: the tiers %v were told", instance, told)
	}
	c.end(instance, "ladder", "a")
}

// onlyHal waits until the schedule's tier was told, and reports whether an override had put hal on call.
func (c *climbers) onlyHal(instance string, round int) bool {
	p, _ := c.waitFor(instance, round, 1, "-phone")
	return p.Target == "user hal"
}

// acknowledged takes an incident at a random moment, and waits until it is un-acknowledged, or ends it before.
func (c *climbers) acknowledged(r *rand.Rand, instance string) {
	c.fire("ladder", instance, time.Hour, "a")
	first, ok := c.waitFor(instance, 0, 0, "/team")
	if !ok {
		return
	}
	<-time.After(time.Duration(r.Int64N(int64(5 * time.Second))))
	path, body := fmt.Sprintf("%s/api/tocsin/v1/incidents/%d/acknowledge", c.url, first.Number), any(map[string]string{"user": "ana"})
	if r.IntN(2) == 0 {
		pages := c.asked(instance)
		path, body = pages[r.IntN(len(pages))].AckURL, nil
	}
	code, answer := c.insist(http.MethodPost, path, "", body)
	if code != http.StatusOK {
		c.t.Errorf("%s: acknowledging: HTTP %d %s", instance, code, answer)
		return
	}
	c.mu.Lock()
	c.acks = append(c.acks, answeredAck{first.Number, time.Now()})
	c.mu.Unlock()
	if r.IntN(2) == 0 { // and forgets it
		round := c.full(first.Number).Round
		c.waitFor(instance, round+1, 0, "/team")
	}
	c.end(instance, "ladder", "a")
}

// snoozed puts an incident off until a time, or until one of its alerts is over.
func (c *climbers) snoozed(r *rand.Rand, instance string) {
	c.fire("ladder", instance, time.Hour, "a", "b")
	first, ok := c.waitFor(instance, 0, 0, "/team")
	if !ok {
		return
	}
	<-time.After(time.Duration(r.Int64N(int64(2 * time.Second))))
	until := time.Now().Add(2 * time.Second).UTC().Truncate(time.Second).Add(time.Second)
	clear := r.IntN(2) == 0
	body := map[string]string{"user": "bo", "until": until.Format(time.RFC3339)}
	if clear {
		body = map[string]string{"user": "bo", "until_clear": `part="b"`}
	}
	code, answer := c.insist(http.MethodPost, fmt.Sprintf("%s/api/tocsin/v1/incidents/%d/snooze", c.url, first.Number), "snooze "+instance, body)
	if code == http.StatusBadRequest && !clear && time.Now().After(until) {
		c.end(instance, "ladder", "a", "b") // nobody answered for so long that the time is over
		return
	}
	if code != http.StatusOK {
		c.t.Errorf("%s: snoozing: HTTP %d %s", instance, code, answer)
		return
	}
	var in incident
	decode(c.t, answer, &in)
	if clear {
		<-time.After(time.Duration(r.Int64N(int64(2 * time.Second))))
		until = time.Now()
		c.fire("ladder", instance, 0, "b")
	}
	if _, ok := c.waitFor(instance, in.Round+1, 0, "/team"); !ok {
		return
	}
	c.snoozeEnded(first.Number, until)
	if clear {
		c.end(instance, "ladder", "a")
	} else {
		c.end(instance, "ladder", "a", "b")
	}
}

// snoozeEnded notes how late a snooze ended.
func (c *climbers) snoozeEnded(number int64, until time.Time) {
	for _, e := range c.full(number).Timeline {
		if e.Kind != "unsnoozed" {
			continue
		}
		late := e.At.Sub(until)
		if late < 0 && !strings.Contains(e.Text, "no firing alert matches") {
			c.t.Errorf("#%d: a snooze ended %s early", number, -late)
		}
		for {
			most := c.lateSnooze.Load()
			if int64(late) <= most || c.lateSnooze.CompareAndSwap(most, int64(late)) {
				break
			}
		}
	}
}

// low has gil told by the deadline, since his day is far away.
func (c *climbers) low(instance string) {
	c.fire("low", instance, time.Hour, "a")
	p, ok := c.waitFor(instance, 0, 1, "/gil-phone")
	if !ok {
		return
	}
	if in := c.full(p.Number); decidedAt(p).Before(in.TriggeredAt.Add(2 * time.Second)) {
		c.t.Errorf("%s: gil was told %s after the trigger, before his day and the deadline", instance, decidedAt(p).Sub(in.TriggeredAt))
	}
	c.end(instance, "low", "a")
}

// overrides puts hal on call instead of whoever is, now and then; each once, however often it is asked for.
func (c *climbers) overrides(r *rand.Rand) {
	for n := 0; !c.over(); n++ {
		<-time.After(time.Duration(r.Int64N(int64(4 * time.Second))))
		from := time.Now().Add(time.Duration(r.IntN(3)) * time.Second).UTC()
		reason := fmt.Sprintf("override %d", n)
		body := map[string]any{"user": "bo", "schedule": "primary", "kind": "replace", "who": "hal", "from": from.Format(time.RFC3339Nano),
			"to": from.Add(3 * time.Second).Format(time.RFC3339Nano), "reason": reason}
		switch code, answer := c.insist(http.MethodPost, c.url+"/api/tocsin/v1/overrides", reason, body); {
		case code == http.StatusCreated || code == http.StatusOK:
			c.overridden = append(c.overridden, reason)
		case !bytes.Contains(answer, []byte("past")) && !bytes.Contains(answer, []byte("over")) && !bytes.Contains(answer, []byte("nothing would change")):
			c.t.Errorf("%s: HTTP %d %s", reason, code, answer)
		}
	}
}

// beats is a job that is silent until it is missed, and then goes on for a while.
func (c *climbers) beats() {
	for !c.over() && !c.t.Failed() {
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
			c.insist(http.MethodPost, c.url+"/hooks/heartbeat/worker", "", nil)
			<-time.After(300 * time.Millisecond)
		}
		if !until(stuck, func() bool {
			<-time.After(150 * time.Millisecond)
			return c.beatMissed() > c.missed || c.t.Failed()
		}) {
			c.t.Error("nobody hears that the heartbeat is missing")
		}
		c.missed++
	}
	if !until(stuck, func() bool {
		c.insist(http.MethodPost, c.url+"/hooks/heartbeat/worker", "", nil)
		return !slices.ContainsFunc(c.titled("Heartbeat worker is missing"), func(in incident) bool { return in.State != "resolved" })
	}) {
		c.t.Error("the heartbeat is heard and its incident does not end")
	}
}

// beatMissed counts the incidents about the heartbeat that somebody has heard of, be it in a page for several.
func (c *climbers) beatMissed() (n int) {
	for _, in := range c.titled("Heartbeat worker is missing") {
		if slices.ContainsFunc(c.full(in.Number).Deliveries, func(d deliveryView) bool { return d.Kind == "triggered" && d.State == "delivered" }) {
			n++
		}
	}
	return n
}
