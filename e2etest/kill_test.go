package e2etest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/notifier/pager/pagertest"
	"tocsin/notifier/slack/slacktest"
	"tocsin/store/pgtest"
)

const killConfig = `
prometheus: {url: $PROM}
rule_files: [rules.yml]
evaluation_interval: 200ms
slack: {bot_token_file: slack-bot, signing_secret_file: slack-signing, api_url: $SLACK, charts: false}
users:
- name: ana
  slack: U02ANA
  contacts: [{receiver: ana-phone}]
receivers:
- name: team-pager
  page_configs: [{url: $PAGER/team, secret_file: page, timeout: 1s}]
- name: ana-phone
  page_configs: [{url: $PAGER/ana, secret_file: page, timeout: 1s}]
escalations:
- name: default
  group_by: [alertname, instance]
  deliver_within: 10s
  tiers:
  - {receiver: team-pager}
  - {after: 4s, user: ana}
- name: with-slack
  group_by: [alertname, instance]
  deliver_within: 10s
  tiers: [{slack: '#alerts', receiver: team-pager}]
`

const killRules = `
groups:
- name: flips
  rules:
  - alert: Flip
    expr: flip == 1
    for: 400ms
    labels: {severity: critical}
    annotations: {summary: 'flip on {{ $labels.instance }}'}
  - alert: Flop
    expr: flop == 1
    keep_firing_for: 300ms
    escalation: with-slack
    labels: {severity: warning}
    annotations: {summary: 'flop on {{ $labels.instance }}'}
`

// maxRounds bounds how many episodes an instance goes through; they end with the killing.
const maxRounds = 20

// maxFaults is how often the pager fails one page. Attempts are a minute apart from the seventh on, so a page
// that goes wrong for ever is late without being lost; with a few failures and a kill or two it is seconds.
const maxFaults = 3

// stuck is when a wait is given up. Nothing is ever late by so much: what takes this long does not come.
const stuck = 4 * time.Minute

// episode is one breach of one instance: what the test knows must have been told of it.
type episode struct {
	name, instance string
	acked          bool
}

func TestKillLosesNothing(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		killLosesNothing(t, kills{count: 25, least: 50 * time.Millisecond, most: 1800 * time.Millisecond})
	})
	// A killed holder's lease lasts 3 s more: killing faster than that would only test the waiting.
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		killLosesNothing(t, kills{count: 8, least: 2 * time.Second, most: 6 * time.Second}, "--storage.url", pgtest.URL(t))
	})
}

// kills says how often and after how long tocsin is killed.
type kills struct {
	count       int
	least, most time.Duration
}

// killLosesNothing lets alerts fire, be acknowledged and resolve, while tocsin is killed again and again at
// random moments and its far ends fail before, during and after their work. Then it holds what arrived
// against what had to arrive.
func killLosesNothing(t *testing.T, k kills, extra ...string) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	prom, url := newStub(t)
	w := newWorld(t, url, killConfig, killRules)
	w.extra = extra
	instances := 8
	if testing.Short() {
		k.count, instances = k.count/4, 3
	}
	w.pager.FailWith(randomPagerFaults(rand.New(rand.NewPCG(seed, 1))))
	for _, stage := range []slacktest.Stage{slacktest.Before, slacktest.During, slacktest.After} {
		w.slack.Fail(slacktest.Fault{Method: "chat.postMessage", Stage: stage, Delay: 100 * time.Millisecond})
	}
	w.start()
	killed := make(chan struct{})
	go func() { defer close(killed); killer(w, rand.New(rand.NewPCG(seed, 2)), k) }()

	var wg sync.WaitGroup
	episodes := make(chan episode, maxRounds*instances)
	for i := range instances {
		wg.Go(func() {
			for round := range maxRounds {
				name, expr := "Flip", "flip == 1"
				if i%3 == 2 {
					name, expr = "Flop", "flop == 1"
				}
				e := episode{name, fmt.Sprintf("%s-%d-%d", strings.ToLower(name), i, round), i%2 == 0}
				if !w.runEpisode(prom, expr, e) {
					return
				}
				episodes <- e
				select {
				case <-killed:
					return
				default:
				}
			}
		})
	}
	<-killed
	w.pager.FailWith(nil) // nobody is killed, nothing fails: now all that was promised has to come
	wg.Wait()
	close(episodes)
	t.Logf("killed %d times in %d episodes, %d page requests, %d Slack calls", k.count, len(episodes), w.pager.Requests(), len(w.slack.Calls("")))
	if !t.Failed() {
		w.ready()
		w.settle()
		for e := range episodes {
			w.checkEpisode(e)
		}
	}
	for _, p := range w.pager.Problems() {
		t.Errorf("the pager minds: %s", p)
	}
}

// randomPagerFaults fails about every third request, before, during or after it was acted on, and no page more
// than maxFaults times.
func randomPagerFaults(r *rand.Rand) func(pagertest.Page) pagertest.Fault {
	faults := []pagertest.Fault{pagertest.Busy, pagertest.Error, pagertest.ResetAfter, pagertest.HangAfter, pagertest.ErrorAfter, pagertest.Limited(time.Second)}
	failed := map[string]int{} // by key; the server's lock guards it
	return func(p pagertest.Page) pagertest.Fault {
		if r.IntN(3) > 0 || failed[p.Key] == maxFaults {
			return pagertest.Fault{}
		}
		failed[p.Key]++
		return faults[r.IntN(len(faults))]
	}
}

// killer kills and restarts tocsin at random moments, from "still starting" to "long at work".
func killer(w *world, r *rand.Rand, k kills) {
	for range k.count {
		<-time.After(k.least + time.Duration(r.Int64N(int64(k.most-k.least))))
		w.kill()
		w.start()
	}
}

// runEpisode breaches, waits for the page, acknowledges if it is to, recovers, and waits for the end.
func (w *world) runEpisode(prom *stub, expr string, e episode) bool {
	prom.set(expr, e.instance, 1, true)
	if !w.paged(e, "incident.triggered") {
		w.t.Errorf("%s on %s fired and nobody was paged", e.name, e.instance)
		return false
	}
	if e.acked {
		number := w.numberOf(e)
		if !until(stuck, func() bool {
			return w.do(http.MethodPost, fmt.Sprintf("/api/tocsin/v1/incidents/%d/acknowledge", number), map[string]string{"user": "ana"}, nil) == http.StatusOK
		}) {
			w.t.Errorf("%s on %s could not be acknowledged", e.name, e.instance)
			return false
		}
		if !w.paged(e, "incident.acknowledged") {
			w.t.Errorf("nobody was told that %s on %s was acknowledged", e.name, e.instance)
			return false
		}
	}
	prom.set(expr, e.instance, 0, false)
	if !w.paged(e, "incident.resolved") {
		w.t.Errorf("nobody was told that %s on %s is over", e.name, e.instance)
		return false
	}
	return true
}

// paged waits for a page of an episode and says whether it came. What the pager minds ends the wait.
func (w *world) paged(e episode, typ string) (came bool) {
	until(stuck, func() bool {
		came = len(w.pagesOf(e)[typ]) > 0
		return came || len(w.pager.Problems()) > 0
	})
	return came
}

// pagesOf returns the pages of an episode by type, repeats included.
func (w *world) pagesOf(e episode) map[string][]pagertest.Page {
	pages := map[string][]pagertest.Page{}
	for _, all := range w.pager.Pages() {
		for _, p := range all.Each() {
			if about(p, e.instance) {
				pages[p.Type] = append(pages[p.Type], p)
			}
		}
	}
	return pages
}

// about reports whether a page is about the incident of an instance. Of one that is named with others only the title is
// known, in which the instance stands at the end, or as a label at the end.
func about(p pagertest.Page, instance string) bool {
	for _, end := range []string{" " + instance, "instance=" + instance + ")"} {
		if strings.HasSuffix(p.Title, end) {
			return true
		}
	}
	return len(p.Numbers) == 1 && p.Title == titleOf(p) && labelsOf(p)["instance"] == instance
}

// titleOf is the title of the page as a whole.
func titleOf(p pagertest.Page) string {
	var body struct{ Data struct{ Title string } }
	_ = json.Unmarshal(p.Body, &body)
	return body.Data.Title
}

func labelsOf(p pagertest.Page) map[string]string {
	var body struct {
		Data struct {
			Labels map[string]string `json:"labels"`
		}
	}
	_ = json.Unmarshal(p.Body, &body)
	return body.Data.Labels
}

func (w *world) numberOf(e episode) int64 {
	for _, p := range w.pagesOf(e)["incident.triggered"] {
		return p.Number
	}
	return 0
}

// settle waits until nothing is on its way any more.
func (w *world) settle() {
	w.t.Helper()
	w.eventually(stuck, "every delivery is done", func() bool {
		for _, in := range w.incidents() {
			var full incident
			if w.get(fmt.Sprintf("/api/tocsin/v1/incidents/%d", in.Number), &full) != http.StatusOK {
				return false
			}
			for _, d := range full.Deliveries {
				if d.State == "queued" || d.State == "sending" {
					return false
				}
			}
		}
		return true
	})
}

// checkEpisode compares what arrived with what had to.
func (w *world) checkEpisode(e episode) {
	w.t.Helper()
	pages := w.pagesOf(e)
	keys := func(typ, path string) map[string]bool {
		ks := map[string]bool{}
		for _, p := range pages[typ] {
			if p.Path == path {
				ks[p.Key] = true
			}
		}
		return ks
	}
	numbers := map[int64]bool{}
	for _, ps := range pages {
		for _, p := range ps {
			numbers[p.Number] = true
		}
	}
	if len(numbers) != 1 {
		w.t.Errorf("%s: one breach became the incidents %v", e.instance, numbers)
	}
	in := w.full(w.numberOf(e))
	for _, path := range []string{"/team", "/ana"} {
		if path == "/team" && in.neverAttempted("page:team-pager/0", "triggered") {
			if len(pages["incident.triggered"]) == 0 {
				w.t.Errorf("%s: the only page was taken back", e.instance)
			}
			continue // somebody else was paged and acknowledged before this endpoint could take it
		}
		triggered, acked, resolved := keys("incident.triggered", path), keys("incident.acknowledged", path), keys("incident.resolved", path)
		if path == "/team" && len(triggered) != 1 {
			w.t.Errorf("%s: %d different first pages to the team", e.instance, len(triggered))
		}
		if len(triggered) > 1 {
			w.t.Errorf("%s: %d different pages to %s", e.instance, len(triggered), path)
		}
		if len(triggered) > 0 && len(resolved) != 1 || len(resolved) > 1 {
			w.t.Errorf("%s: %s was paged %d times and told %d times that it is over", e.instance, path, len(triggered), len(resolved))
		}
		if len(acked) > 1 || e.acked && path == "/team" && len(acked) != 1 || !e.acked && len(acked) > 0 {
			w.t.Errorf("%s: %s was told of %d acknowledgements (acked: %v)", e.instance, path, len(acked), e.acked)
		}
		w.checkOrder(e, path, pages)
	}
	if e.name == "Flop" {
		w.checkSlack(e)
	}
}

// checkOrder: the first arrivals at one endpoint are in the order triggered, acknowledged, resolved.
func (w *world) checkOrder(e episode, path string, pages map[string][]pagertest.Page) {
	var last time.Time
	for _, typ := range []string{"incident.triggered", "incident.acknowledged", "incident.resolved"} {
		for _, p := range pages[typ] {
			if p.Path != path {
				continue
			}
			if p.At.Before(last) {
				w.t.Errorf("%s: %s arrived at %s before what came earlier", e.instance, typ, path)
			}
			last = p.At
			break
		}
	}
}

// checkSlack: the channel shows the incident, and its final state; unless the incident ended before its
// message was ever attempted, which then must say so.
func (w *world) checkSlack(e episode) {
	w.t.Helper()
	if in := w.full(w.numberOf(e)); in.neverAttempted("slack:#alerts", "message") {
		return
	}
	ok := until(stuck, func() bool {
		for _, m := range w.slack.Messages("#alerts") {
			if strings.Contains(string(m.Blocks), e.instance) && strings.Contains(strings.ToLower(m.Text+string(m.Blocks)), "resolved") {
				return true
			}
		}
		return false
	})
	if !ok {
		w.t.Errorf("%s: Slack does not show that it is over", e.instance)
	}
}
