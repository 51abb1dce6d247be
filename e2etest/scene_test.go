package e2etest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// scene is a scenario: what is done to a program at which second, and what has to arrive at its receivers
// when. Second 0 is when the program is ready.
type scene struct {
	name   string
	config string // with $HOOK as the address of receivers
	flags  []string
	play   func(s *script)
}

// script is a scene being written down for one program.
type script struct {
	program string
	steps   []step
	wants   []want
	faults  func(hook string, at float64) fault
	until   float64 // no sooner ends the scene
}

type step struct {
	at float64
	do func(r *run)
}

// want is a notification that has to arrive in a window; one without alerts says that none may.
type want struct {
	hook     string
	from, to float64
	alerts   []posted
}

// posted is an alert as it is posted, and as it is expected; instants are seconds of the scene, 0: not given.
type posted struct {
	labels, annotations map[string]string
	starts, ends        float64
}

// somewhen is an end of which only that it came is to be checked.
const somewhen = -1

func (p posted) text() string {
	return fmt.Sprintf("%s| %s", text(p.labels), text(p.annotations))
}

// alert is an alert with the labels name, value, ….
func alert(pairs ...string) posted { return posted{labels: labelMap(pairs)} }

func labelMap(pairs []string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// from sets when it began, and if a second instant is given, when it ends.
func (p posted) from(starts float64, ends ...float64) posted {
	p.starts = starts
	if len(ends) > 0 {
		p.ends = ends[0]
	}
	return p
}

func (p posted) annotated(pairs ...string) posted {
	p.annotations = labelMap(pairs)
	return p
}

func (s *script) do(at float64, f func(r *run)) { s.steps = append(s.steps, step{at, f}) }

func (s *script) push(at float64, alerts ...posted) {
	s.do(at, func(r *run) { r.push(alerts...) })
}

func (s *script) reload(at float64) { s.do(at, func(r *run) { r.d.reload() }) }

// silence sets a silence under a name of the script's.
func (s *script) silence(at float64, name string, from, to float64, matchers ...matcher) {
	s.do(at, func(r *run) { r.silence(name, from, to, matchers...) })
}

func (s *script) expire(at float64, name string) {
	s.do(at, func(r *run) {
		if code, b := r.d.call(http.MethodDelete, "/api/v2/silence/"+r.silences[name], nil); code != http.StatusOK {
			r.t.Errorf("expire %s: HTTP %d %s", name, code, b)
		}
	})
}

func (s *script) want(hook string, from, to float64, alerts ...posted) {
	s.wants = append(s.wants, want{hook, from, to, alerts})
}

// matcher is a silence's, as in the API.
type matcher struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual bool   `json:"isEqual"`
}

func equals(name, value string) matcher { return matcher{name, value, false, true} }
func like(name, value string) matcher   { return matcher{name, value, true, true} }

// run is a script being played.
type run struct {
	t        testing.TB
	d        *daemon
	hooks    *hooks
	began    time.Time
	silences map[string]string // name → ID
}

// when is the instant of a second of the scene.
func (r *run) when(s float64) time.Time { return r.began.Add(time.Duration(s * float64(time.Second))) }

func (r *run) second(at time.Time) float64 { return at.Sub(r.began).Seconds() }

func (r *run) push(alerts ...posted) {
	body := []map[string]any{}
	for _, a := range alerts {
		m := map[string]any{"labels": a.labels, "annotations": a.annotations}
		if a.starts != 0 {
			m["startsAt"] = r.when(a.starts).Format(time.RFC3339Nano)
		}
		if a.ends != 0 {
			m["endsAt"] = r.when(a.ends).Format(time.RFC3339Nano)
		}
		body = append(body, m)
	}
	if code, b := r.d.call(http.MethodPost, "/api/v2/alerts", body); code != http.StatusOK {
		r.t.Errorf("post of alerts: HTTP %d %s", code, b)
	}
}

func (r *run) silence(name string, from, to float64, matchers ...matcher) {
	var out struct{ SilenceID string }
	body := map[string]any{"matchers": matchers, "startsAt": r.when(from).Format(time.RFC3339Nano), "endsAt": r.when(to).Format(time.RFC3339Nano),
		"createdBy": "ana", "comment": "for a test"}
	if code := r.d.status(http.MethodPost, "/api/v2/silences", body, &out); code != http.StatusOK {
		r.t.Errorf("silence %s: HTTP %d", name, code)
	}
	r.silences[name] = out.SilenceID
}

const (
	// slack is how much later than its window a notification may arrive, and tolerance how far instants may
	// differ: the program and the test share cores with other tests.
	slack     = 0.4
	tolerance = 0.35
	// stall is for how long the test itself may be kept from running before a scene is void: its posts were
	// not made when they should, and what follows says nothing about the program.
	stall = 100 * time.Millisecond
	takes = 4
)

// playAll plays scenes against tocsin and, where there is one, against Alertmanager: several at a time, as
// they mostly wait.
func playAll(t *testing.T, scenes []scene) {
	t.Helper()
	play(t, programs(t), scenes)
}

func play(t *testing.T, programs []program, scenes []scene) {
	gate := make(chan struct{}, 6)
	var wg sync.WaitGroup
	for _, p := range programs {
		for _, sc := range scenes {
			wg.Go(func() {
				gate <- struct{}{}
				defer func() { <-gate }()
				t.Run(p.name+"/"+sc.name, func(t *testing.T) { playScene(t, p, sc) })
			})
		}
	}
	wg.Wait()
}

// playScene plays a scene until the machine let it be played on time.
func playScene(t *testing.T, p program, sc scene) {
	for take := 1; ; take++ {
		problems, stalled := sc.once(t, p)
		if len(problems) == 0 {
			return
		}
		if stalled < stall || take == takes {
			t.Errorf("take %d (stalled for %v at most):\n%s", take, stalled, strings.Join(problems, "\n"))
			return
		}
		t.Logf("take %d is void, the machine stalled for %v", take, stalled)
	}
}

// once plays a scene and returns what is wrong, and for how long the machine stalled meanwhile.
func (sc scene) once(t *testing.T, p program) (problems []string, stalled time.Duration) {
	s := &script{program: p.name}
	sc.play(s)
	r := &run{t: t, hooks: newHooks(t), silences: map[string]string{}}
	r.d = newDaemon(t, p, r.hooks.config(sc.config), sc.flags...)
	defer r.d.kill()
	r.began = time.Now()
	if s.faults != nil {
		r.hooks.failWith(func(name string, _ int, _ []byte) fault { return s.faults(name, r.second(time.Now())) })
	}
	slices.SortStableFunc(s.steps, func(a, b step) int { return int((a.at - b.at) * 1000) })
	end := s.until
	for _, w := range s.wants {
		end = max(end, w.to+slack)
	}
	stop := make(chan time.Duration)
	go watchForStalls(stop)
	for _, st := range s.steps {
		<-time.After(time.Until(r.when(st.at)))
		stalled = max(stalled, time.Since(r.when(st.at)))
		st.do(r)
	}
	<-time.After(time.Until(r.when(end)))
	stop <- 0
	return r.check(s, end), max(stalled, <-stop)
}

// watchForStalls measures by how much a ticker is late until it is asked.
func watchForStalls(stop chan time.Duration) {
	const every = 10 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	var worst time.Duration
	for last := time.Now(); ; {
		select {
		case <-tick.C:
			worst = max(worst, time.Since(last)-every)
			last = time.Now()
		case <-stop:
			stop <- worst
			return
		}
	}
}

// check holds what arrived against what was wanted: each once, in its window, and nothing else.
func (r *run) check(s *script, end float64) (problems []string) {
	left := map[string][]notification{}
	for _, w := range s.wants {
		left[w.hook] = r.hooks.all(w.hook)
	}
	for _, w := range s.wants {
		i := slices.IndexFunc(left[w.hook], func(n notification) bool { return r.fits(w, n) })
		switch {
		case i >= 0 && len(w.alerts) > 0:
			left[w.hook] = slices.Delete(left[w.hook], i, i+1)
		case len(w.alerts) > 0:
			problems = append(problems, fmt.Sprintf("%s: nothing in %.1f–%.1f s is\n%s", w.hook, w.from, w.to, wanted(w)))
		}
	}
	for hook, list := range left {
		for _, n := range list {
			if at := r.second(n.at); at <= end {
				problems = append(problems, fmt.Sprintf("%s: not wanted at %.2f s:\n%s", hook, at, r.arrived(n)))
			}
		}
	}
	return problems
}

func (r *run) fits(w want, n notification) bool {
	if at := r.second(n.at); at < w.from-0.05 || at > w.to+slack || len(n.Alerts) != len(w.alerts) {
		return false
	}
	for _, p := range w.alerts {
		if !slices.ContainsFunc(n.Alerts, func(a notified) bool { return r.same(p, a) }) {
			return false
		}
	}
	return true
}

func (r *run) same(p posted, a notified) bool {
	near := func(s float64, at time.Time) bool { return max(s-r.second(at), r.second(at)-s) <= tolerance }
	if text(p.labels) != text(a.Labels) || text(p.annotations) != text(a.Annotations) || p.starts != 0 && !near(p.starts, a.StartsAt) {
		return false
	}
	if p.ends == 0 {
		return a.Status == "firing"
	}
	return a.Status == "resolved" && (p.ends == somewhen || near(p.ends, a.EndsAt))
}

func wanted(w want) string {
	var b strings.Builder
	for _, p := range w.alerts {
		fmt.Fprintf(&b, "    %s %.1f–%.1f\n", p.text(), p.starts, p.ends)
	}
	return b.String()
}

func (r *run) arrived(n notification) string {
	var b strings.Builder
	for _, a := range n.Alerts {
		fmt.Fprintf(&b, "    %s| %s %s %.2f–%.2f\n", text(a.Labels), text(a.Annotations), a.Status, r.second(a.StartsAt), r.second(a.EndsAt))
	}
	return b.String()
}
