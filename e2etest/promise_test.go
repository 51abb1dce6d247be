package e2etest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/notifier/pager/pagertest"
	"tocsin/store/pgtest"
)

// promiseConfig routes what is posted to a webhook, what matters to an escalation as well, and has the
// groups flushed often enough for a test.
const promiseConfig = `
route:
  receiver: hook
  group_by: [alertname, batch]
  group_wait: 300ms
  group_interval: 700ms
  repeat_interval: 1h
  routes:
  - {matchers: [severity=critical], receiver: people, continue: true}
  - {matchers: [alertname=~".+"], receiver: hook}
receivers:
- {name: hook, webhook_configs: [{url: $HOOK/hook, timeout: 1s}]}
- {name: people, escalation: people}
- {name: pager, page_configs: [{url: $PAGER/team, secret_file: page, timeout: 1s}]}
escalations:
- {name: people, group_by: [alertname, instance], deliver_within: 10s, tiers: [{receiver: pager}]}
`

// TestPostsLoseNothing posts alerts, and sets and expires silences, while tocsin is killed again and again.
// What was answered with 200 is a promise: it is told to the webhook, to people where a route says so, also when
// it resolved while it was silenced or while nobody ran; and who heard that it fires hears that it is over.
func TestPostsLoseNothing(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		postsLoseNothing(t, kills{count: 20, least: 50 * time.Millisecond, most: 1800 * time.Millisecond})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		postsLoseNothing(t, kills{count: 6, least: 2 * time.Second, most: 6 * time.Second}, "--storage.url", pgtest.URL(t))
	})
}

// promise is one alert as its poster sees it.
type promise struct {
	name     string
	critical bool
	heard    bool // its poster saw it arrive before it ended: it has to be heard of, and of its end
}

func (p promise) labels() map[string]string {
	severity := "warning"
	if p.critical {
		severity = "critical"
	}
	parts := strings.Split(p.name, "-")
	return map[string]string{"alertname": "Promise", "instance": p.name, "batch": parts[1], "severity": severity}
}

func postsLoseNothing(t *testing.T, k kills, extra ...string) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	h := newHooks(t)
	pager := pagertest.New(pageSecret)
	server := httptest.NewServer(pager)
	t.Cleanup(server.Close)
	d := prepare(t, ours(), "", strings.ReplaceAll(h.config(promiseConfig), "$PAGER", server.URL), extra...)
	d.write("page", pageSecret)
	r := rand.New(rand.NewPCG(seed, 1))
	pager.FailWith(randomPagerFaults(rand.New(rand.NewPCG(seed, 2))))
	h.failWith(randomHookFaults(r))
	posters := 4
	if testing.Short() {
		k.count, posters = k.count/4, 2
	}
	d.start()
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		r := rand.New(rand.NewPCG(seed, 3))
		for range k.count {
			<-time.After(k.least + time.Duration(r.Int64N(int64(k.most-k.least))))
			d.kill()
			d.launch()
		}
	}()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []promise
	for i := range posters {
		r := rand.New(rand.NewPCG(seed, uint64(10+i)))
		wg.Go(func() {
			p := promiser{d, r, h, pager, i}
			for n := 0; ; n++ {
				made := p.round(n)
				mu.Lock()
				all = append(all, made...)
				mu.Unlock()
				select {
				case <-killed:
					return
				default:
				}
			}
		})
	}
	<-killed
	pager.FailWith(nil)
	h.failWith(nil)
	wg.Wait()
	t.Logf("killed %d times, %d alerts, %d requests of the webhook, %d of the pager", k.count, len(all), h.requests("hook"), pager.Requests())
	d.checkPromises(h, pager, all)
}

// randomHookFaults fails about every fourth request, at most maxFaults times in a row.
func randomHookFaults(r *rand.Rand) func(string, int, []byte) fault {
	inRow := 0
	return func(string, int, []byte) fault {
		if r.IntN(4) > 0 || inRow == maxFaults {
			inRow = 0
			return fault{}
		}
		inRow++
		return []fault{{status: 503}, {status: 500}, {wait: 2 * time.Second}, {status: 429, after: time.Second}}[r.IntN(4)]
	}
}

// must repeats a request until it is answered with 200: that is when the promise is made.
func (d *daemon) must(method, path string, body any) []byte {
	var answer []byte
	if !until(stuck, func() bool {
		code, b := d.call(method, path, body)
		if code/100 == 4 {
			d.t.Errorf("%s %s: HTTP %d %s", method, path, code, b)
		}
		answer = b
		return code/100 == 2 || code/100 == 4
	}) {
		d.t.Errorf("%s %s was never answered", method, path)
	}
	return answer
}

// promiser posts batches of alerts, one after the other.
type promiser struct {
	d     *daemon
	r     *rand.Rand
	hooks *hooks
	pager *pagertest.Server
	name  int
}

// round lets a batch fire, perhaps until everybody has heard, silences one of them for a while, and lets all
// end: before, while or after the silence lasts.
func (p promiser) round(n int) []promise {
	var batch []promise
	for i := range 3 {
		batch = append(batch, promise{name: fmt.Sprintf("promise-%d.%d-%d", p.name, n, i), critical: p.r.IntN(2) == 0})
	}
	began := time.Now()
	post := func(ends time.Time) {
		var body []map[string]any
		for _, pr := range batch {
			body = append(body, map[string]any{"labels": pr.labels(), "startsAt": began, "endsAt": ends})
		}
		p.d.must(http.MethodPost, "/api/v2/alerts", body)
	}
	pause := func(most time.Duration) { <-time.After(time.Duration(p.r.Int64N(int64(most)))) }
	post(began.Add(time.Hour))
	if p.r.IntN(2) == 0 {
		p.listen(batch)
	}
	pause(time.Second)
	early := p.r.IntN(2) == 0
	if p.r.IntN(2) == 0 {
		var out struct{ SilenceID string }
		decode(p.d.t, p.d.must(http.MethodPost, "/api/v2/silences", silenceFor(time.Hour, equals("instance", batch[0].name))), &out)
		pause(time.Second)
		post(began.Add(time.Hour)) // as Prometheus does
		if early {
			post(time.Now())
		}
		// a first try may have expired it without its answer arriving: the second is refused
		until(stuck, func() bool {
			code, _ := p.d.call(http.MethodDelete, "/api/v2/silence/"+out.SilenceID, nil)
			return code != 0 && code < 500
		})
		pause(time.Second)
	}
	post(time.Now())
	return batch
}

// listen waits until everybody has heard of the batch.
func (p promiser) listen(batch []promise) {
	all := until(stuck, func() bool {
		hook, pages := p.hooks.last("hook", "instance"), lastPages(p.pager)
		for i := range batch {
			batch[i].heard = hook[batch[i].name] != "" && (!batch[i].critical || pages[batch[i].name] != "")
			if !batch[i].heard {
				return false
			}
		}
		return true
	})
	if !all {
		p.d.t.Errorf("nobody hears of %+v", batch)
	}
}

// checkPromises waits until everybody who must know does, and then looks for what nobody should have been told.
func (d *daemon) checkPromises(h *hooks, pager *pagertest.Server, all []promise) {
	t := d.t
	t.Helper()
	open := func() (left []string) {
		hook, pages := h.last("hook", "instance"), lastPages(pager)
		for _, p := range all {
			if s := hook[p.name]; s == "firing" {
				left = append(left, p.name+": the webhook has not heard that it is over")
			}
			if s := pages[p.name]; s != "" && s != "incident.resolved" {
				left = append(left, p.name+": people have not heard that it is over, but "+s)
			}
		}
		return left
	}
	if !until(stuck, func() bool { return len(open()) == 0 || len(pager.Problems()) > 0 }) {
		t.Errorf("%s", strings.Join(open(), "\n"))
		d.explain(open()[0])
	}
	for _, p := range pager.Problems() {
		t.Errorf("the pager minds: %s", p)
	}
	pages := lastPages(pager)
	for _, p := range all {
		if !p.critical && pages[p.name] != "" {
			t.Errorf("%s: people were told of what no route sends to them", p.name)
		}
	}
}

// explain logs what is known of the alert that a complaint begins with.
func (d *daemon) explain(complaint string) {
	name, _, _ := strings.Cut(complaint, ":")
	_, alerts := d.call(http.MethodGet, "/api/v2/alerts?filter=instance%3D"+name, nil)
	d.t.Logf("the alert API: %s", alerts)
	var list []incident
	d.status(http.MethodGet, "/api/tocsin/v1/incidents?limit=1000", nil, &list)
	for _, in := range list {
		if in.GroupLabels["instance"] == name {
			_, full := d.call(http.MethodGet, fmt.Sprintf("/api/tocsin/v1/incidents/%d", in.Number), nil)
			d.t.Logf("incident %d: %s", in.Number, full)
		}
	}
}

// lastPages returns the type of the last page for each instance.
func lastPages(pager *pagertest.Server) map[string]string {
	out := map[string]string{}
	for _, all := range pager.Pages() {
		for _, p := range all.Each() {
			_, instance, _ := strings.Cut(strings.TrimSuffix(p.Title, ")"), "instance=") // as titles without a summary have it
			out[instance] = p.Type
		}
	}
	return out
}
