package e2etest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tocsin/notifier/pager/pagertest"
	"tocsin/notifier/slack/slacktest"
	"tocsin/store/pgtest"
)

var onCallKills = flag.Int("oncall-kills", 22, "how often tocsin is killed while people are on call; 6 with -short")

// onCallConfig has everything that makes people be told at an instant of their own. A handoff is at the next full minute.
const onCallConfig = `
route:
  receiver: nobody
  routes:
  - {matchers: [to=ladder], receiver: ladder}
  - {matchers: [to=low], receiver: low}
slack: {bot_token_file: slack-bot, signing_secret_file: slack-signing, api_url: $SLACK}
users:
- {name: ana, slack: U02ANA, contacts: [{receiver: ana-phone}, {after: 700ms, receiver: ana-sms}]}
- {name: bo, slack: U03BO, contacts: [{receiver: bo-phone}, {after: 700ms, receiver: bo-sms}]}
- {name: hal, contacts: [{receiver: hal-phone}]}
- {name: dee, contacts: [{receiver: dee-phone}]}
- {name: eve, contacts: [{receiver: eve-phone}]}
- {name: fay, contacts: [{after: 300ms, receiver: fay-phone}, {after: 900ms, receiver: fay-sms}]}
- {name: gil, contacts: [{receiver: gil-phone}], daytime: {times: [{start_time: '$DAY', end_time: '$EVENING'}]}}
schedules:
- {name: primary, time_zone: UTC, notify: {slack: '#session-alerts'}, layers: [{users: [ana, bo], start: '$START', every: 15m}]}
escalations:
- name: ladder
  group_by: [instance]
  ack_timeout: 4s
  repeat: {every: 6s, times: 1}
  deliver_within: 20s
  tiers:
  - {receiver: team}
  - {after: 1s, schedule: primary}
  - {after: 2s, user: [dee, eve], round_robin: true}
  - {after: 3s, user: fay}
- name: low
  group_by: [instance]
  urgency: low
  low_deadline: 2s
  deliver_within: 20s
  tiers: [{receiver: team}, {user: gil}]
- {name: beats, tiers: [{receiver: team}]}
heartbeats:
- {name: worker, every: 1s, grace: 1s, escalation: beats}
receivers:
- {name: nobody}
- {name: ladder, escalation: ladder}
- {name: low, escalation: low}
`

func newOnCallWorld(t *testing.T) *world {
	far := time.Now().UTC().Add(11 * time.Hour) // gil's day begins when the test is long over
	config := strings.NewReplacer(
		"$DAY", far.Format("15")+":00", "$EVENING", far.Format("15")+":59",
		"$START", time.Now().UTC().Truncate(time.Minute).Add(-14*time.Minute).Format("2006-01-02T15:04")).Replace(onCallConfig)
	for _, name := range []string{"team", "ana-phone", "ana-sms", "bo-phone", "bo-sms", "hal-phone", "dee-phone", "eve-phone", "fay-phone", "fay-sms", "gil-phone"} {
		config += fmt.Sprintf("- {name: %s, page_configs: [{url: $PAGER/%s, secret_file: page, timeout: 1s}]}\n", name, name)
	}
	w := newWorld(t, "", config, "groups: []\n")
	for _, stage := range []slacktest.Stage{slacktest.Before, slacktest.After} {
		w.slack.Fail(slacktest.Fault{Method: "chat.postMessage", Stage: stage})
	}
	return w
}

// TestOnCallSurvives kills tocsin again and again while incidents climb through tiers, contact rules with delays, a
// round robin, repeats, snoozes, a low urgency and acknowledgements that time out, under a rotation, overrides and a
// heartbeat. What had to come came, in order and once; what nobody asked for any more did not.
func TestOnCallSurvives(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		onCallSurvives(t, kills{count: *onCallKills, least: 50 * time.Millisecond, most: 3 * time.Second})
	})
	t.Run("postgres", func(t *testing.T) { // a killed holder's lease lasts 3 s more
		t.Parallel()
		onCallSurvives(t, kills{count: max(1, *onCallKills/3), least: 2 * time.Second, most: 7 * time.Second}, "--storage.url", pgtest.URL(t))
	})
}

func onCallSurvives(t *testing.T, k kills, extra ...string) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := newOnCallWorld(t)
	w.extra = extra
	workers := 6
	if testing.Short() {
		k.count, workers = min(k.count, 6), 3
	}
	w.pager.FailWith(randomPagerFaults(rand.New(rand.NewPCG(seed, 1))))
	w.start()
	w.ready()
	killed := make(chan struct{})
	go func() { defer close(killed); killer(w, rand.New(rand.NewPCG(seed, 2)), k) }()
	c := &climbers{world: w, killed: killed}
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { c.climb(rand.New(rand.NewPCG(seed, uint64(10+i))), i) })
	}
	wg.Go(func() { c.overrides(rand.New(rand.NewPCG(seed, 3))) })
	wg.Go(c.beats)
	<-killed
	w.pager.FailWith(nil)
	wg.Wait()
	t.Logf("killed %d times, %d incidents, %d page requests, %d overrides, %d missed heartbeats; the latest end of a snooze was %s late",
		k.count, c.episodes.Load(), w.pager.Requests(), len(c.overridden), c.missed, time.Duration(c.lateSnooze.Load()).Round(time.Millisecond))
	if late := time.Duration(c.lateSnooze.Load()); late > patience/2 { // a kill and a busy machine cost seconds
		t.Errorf("a snooze ended %s late", late)
	}
	if !t.Failed() {
		w.ready()
		w.settle()
		c.check()
	}
	for _, p := range w.pager.Problems() {
		t.Errorf("the pager minds: %s", p)
	}
}

// climbers let incidents climb through their tiers until the killing is over.
type climbers struct {
	*world
	killed   chan struct{}
	episodes atomic.Int64

	lateSnooze atomic.Int64 // nanoseconds: the latest end of a snooze

	mu         sync.Mutex
	acks       []answeredAck // guarded by mu
	overridden []string      // reasons of the overrides that were answered; of one goroutine
	missed     int           // of one goroutine
}

// answeredAck is an acknowledgement that its sender saw answered.
type answeredAck struct {
	number int64
	at     time.Time // when the answer was there
}

func (c *climbers) over() bool {
	select {
	case <-c.killed:
		return true
	default:
		return false
	}
}

func (c *climbers) climb(r *rand.Rand, worker int) {
	for n := 0; !c.over() && !c.t.Failed(); n++ {
		instance := fmt.Sprintf("climb-%d-%d", worker, n)
		switch (worker + n) % 5 {
		case 0:
			c.unanswered(instance)
		case 1, 2:
			c.acknowledged(r, instance)
		case 3:
			c.snoozed(r, instance)
		case 4:
			c.low(instance)
		}
		c.episodes.Add(1)
	}
}

// insist repeats a request until tocsin answers it, and returns the last answer.
func (w *world) insist(method, path, key string, in any) (code int, answer []byte) {
	body := []byte{}
	if in != nil {
		body, _ = json.Marshal(in)
	}
	if !until(stuck, func() bool {
		req, err := http.NewRequest(method, path, bytes.NewReader(body))
		if err != nil {
			w.t.Error(err)
			return true
		}
		if in != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		if key != "" {
			req.Header.Set("Idempotency-Key", key)
		}
		code = 0
		res, err := patient.Do(req)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		answer, err = io.ReadAll(res.Body)
		code = res.StatusCode
		return err == nil && code < 500
	}) {
		w.t.Errorf("%s %s is never answered, last with %d", method, path, code)
	}
	return code, answer
}

var patient = &http.Client{Timeout: 5 * time.Second}

// full returns one incident, also while tocsin is being killed.
func (c *climbers) full(number int64) (in incident) {
	code, answer := c.insist(http.MethodGet, fmt.Sprintf("%s/api/tocsin/v1/incidents/%d", c.url, number), "", nil)
	if code != http.StatusOK {
		c.t.Errorf("incident %d: HTTP %d %s", number, code, answer)
		return in
	}
	decode(c.t, answer, &in)
	return in
}

// fire posts alerts of one incident, as they now are.
func (c *climbers) fire(to, instance string, ends time.Duration, parts ...string) {
	var body []map[string]any
	for _, part := range parts {
		body = append(body, map[string]any{
			"labels":   map[string]string{"alertname": "Climb", "instance": instance, "to": to, "part": part, "severity": "critical"},
			"startsAt": time.Now().Add(-time.Minute), "endsAt": time.Now().Add(ends),
		})
	}
	if code, answer := c.insist(http.MethodPost, c.url+"/api/v2/alerts", "", body); code != http.StatusOK {
		c.t.Errorf("posting %s: HTTP %d %s", instance, code, answer)
	}
}

// asked returns the pages that ask for attention about an instance, in order of arrival and each key once.
func (c *climbers) asked(instance string) (asked []pagertest.Page) {
	seen := map[string]bool{}
	for _, p := range c.pagesOf(episode{instance: instance})["incident.triggered"] {
		if !seen[p.Key] {
			seen[p.Key] = true
			asked = append(asked, p)
		}
	}
	return asked
}

// waitFor waits until a page of a round, tier and way has arrived.
func (c *climbers) waitFor(instance string, round, tier int, path string) (page pagertest.Page, ok bool) {
	until(stuck, func() bool {
		for _, p := range c.asked(instance) {
			if p.Round == round && p.Tier == tier && strings.HasSuffix(p.Path, path) {
				page, ok = p, true
			}
		}
		return ok || len(c.pager.Problems()) > 0 || c.t.Failed()
	})
	if !ok {
		c.t.Errorf("%s: tier %d of round %d never reaches %s", instance, tier, round, path)
	}
	return page, ok
}

// end resolves an instance and waits until the team has heard.
func (c *climbers) end(instance, to string, parts ...string) {
	c.fire(to, instance, 0, parts...)
	if !c.paged(episode{name: "Climb", instance: instance}, "incident.resolved") {
		c.t.Errorf("%s: nobody hears that it is over", instance)
	}
}
