package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"tocsin/notifier/slack/slacktest"
)

// run is one telling of the story. World.mu guards it.
type run struct {
	clock   clock
	from    time.Time // real: what began before belongs to an earlier run
	metrics *metrics  // safe for use without the lock
	service *service
	curve   []point // of the chart; ends with the story
	seen    seen
	deeds   []moment       // what was done to the service
	crashes map[string]int // by instance, as far as deeds tell of them
	high    bool           // memory is above the alert\'s threshold, or was and has not fallen far below
	sleeps  bool           // the scripted engineer does nothing: the visitor is on call
	lastTry time.Time
	patched time.Time // story time; zero: not yet
	restart time.Time // story time of the last wanted restart
}

// point is one moment of the chart.
type point struct {
	at     time.Time // story
	memory []float64 // by instance, share of the limit; 0 while down
	errors float64
}

// calmDown is how long before storyStart a story that starts again begins: in that time the alerts of the
// one before resolve.
const calmDown = 8 * time.Minute

// again closes what is open and starts the story once more.
func (w *World) again(ctx context.Context) error {
	w.mu.Lock()
	base, open := w.tocsin, slices.Clone(w.now.seen.incidents)
	w.mu.Unlock()
	bo, _ := personNamed("bo")
	for _, in := range open {
		if base != "" && in.ResolvedAt.IsZero() {
			if _, err := w.slack.Command(ctx, base, fmt.Sprintf("resolve #%d", in.Number), bo.slack); err != nil {
				return fmt.Errorf("close #%d before starting again: %w", in.Number, err)
			}
		}
	}
	return w.begin(ctx, calmDown)
}

// begin starts the story the given time before storyStart, with a past that the rules can look back on.
func (w *World) begin(ctx context.Context, before time.Duration) error {
	dir, err := os.MkdirTemp(w.dir, "tsdb-")
	if err != nil {
		return err
	}
	m, err := openMetrics(dir, w.opts.Speed, w.opts.Logger)
	if err != nil {
		return err
	}
	from := time.Now().Truncate(time.Millisecond)
	r := &run{from: from, clock: clock{began: from.Add(shrink(before, w.opts.Speed)), speed: w.opts.Speed}, metrics: m, crashes: map[string]int{}}
	r.service = newService(storyStart.Add(-before - historySpan))
	w.mu.Lock()
	w.runs = append(w.runs, r)
	w.mu.Unlock()
	for real := r.clock.real(r.service.now); real.Before(r.from); real = real.Add(tick) {
		if err := r.step(ctx, real); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now != nil {
		r.sleeps = w.now.sleeps
	}
	w.now = r
	w.printed = map[string]bool{}
	return nil
}

// step moves the service to a real instant and scrapes it.
func (r *run) step(ctx context.Context, real time.Time) error {
	at := r.clock.story(real)
	r.service.step(at)
	r.note(at)
	if at.Before(storyEnd) {
		p := point{at: at, errors: r.service.errorRatio()}
		for i := range r.service.instances {
			p.memory = append(p.memory, r.service.instances[i].ratio(at))
		}
		r.curve = append(r.curve, p)
	}
	return r.metrics.append(ctx, real, scrape(r.service))
}

// note keeps what happened to the service by itself.
func (r *run) note(at time.Time) {
	highest := 0.0
	for i := range r.service.instances {
		in := &r.service.instances[i]
		highest = max(highest, in.ratio(at))
		if in.crashes > r.crashes[in.name] {
			r.crashes[in.name] = in.crashes
			r.deeds = append(r.deeds, moment{key: fmt.Sprint("crash ", in.name, in.crashes), at: at, Kind: kindWorse, Text: in.name + " reaches its limit and crashes."})
		}
	}
	switch {
	case highest > 0.8 && !r.high:
		r.high = true
		r.deeds = append(r.deeds, moment{key: "high" + at.String(), at: at, Kind: kindPending, Text: "Memory passes 80 %. If it stays there for two minutes, the alert fires."})
	case highest < 0.7:
		r.high = false
	}
}

func (w *World) step(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.now.step(ctx, time.Now()); err != nil && ctx.Err() == nil {
		w.opts.Logger.Error("The session service could not be scraped", "err", err)
	}
}

// present returns the metrics of the present run.
func (w *World) present() *metrics {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now.metrics
}

// look reads what tocsin did so far, tells the terminal of it, and lets the scripted engineer act.
func (w *World) look(ctx context.Context) {
	w.mu.Lock()
	base, r := w.tocsin, w.now
	w.mu.Unlock()
	if base == "" {
		return
	}
	incidents, err := w.incidents(ctx, base)
	if err != nil {
		if ctx.Err() == nil {
			w.opts.Logger.Debug("tocsin did not list its incidents", "err", err)
		}
		return
	}
	w.mu.Lock()
	if r != w.now { // started again meanwhile
		w.mu.Unlock()
		return
	}
	r.seen = w.gather(r, incidents)
	w.tell(r)
	todo, s := r.decide(time.Now())
	w.mu.Unlock()
	if todo != deedNone {
		w.act(ctx, base, r, todo, s)
	}
}

// incidents reads tocsin's own API, as any program may.
func (w *World) incidents(ctx context.Context, base string) ([]incident, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/tocsin/v1/incidents", nil)
	if err != nil {
		return nil, err
	}
	res, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", res.Status)
	}
	var out []incident
	err = json.NewDecoder(io.LimitReader(res.Body, 4<<20)).Decode(&out)
	return out, err
}

// gather puts together what is seen of a run. It needs w.mu.
func (w *World) gather(r *run, incidents []incident) seen {
	s := seen{}
	for _, in := range incidents {
		if !in.TriggeredAt.Before(r.from) {
			s.incidents = append(s.incidents, in)
		}
	}
	slices.SortFunc(s.incidents, func(a, b incident) int { return int(a.Number - b.Number) })
	for _, p := range people {
		for _, m := range w.slack.Messages(p.slack) {
			if at := slackTime(m.TS); m.From == "bot" && m.ThreadTS == "" && !at.Before(r.from) {
				s.tellings = append(s.tellings, telling{p.name, at, "by direct message in Slack"})
			}
		}
	}
	for _, c := range w.phones.since(r.from) {
		if c.asks() {
			s.tellings = append(s.tellings, telling{c.user, c.at, "by phone"})
		}
	}
	slices.SortStableFunc(s.tellings, func(a, b telling) int { return a.at.Compare(b.at) })
	return s
}

// slackTime is the moment in a message's ts.
func slackTime(ts string) time.Time {
	secs, micros, _ := strings.Cut(ts, ".")
	s, err1 := strconv.ParseInt(secs, 10, 64)
	us, err2 := strconv.ParseInt(micros, 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return time.Time{}
	}
	return time.Unix(s, us*1000)
}

// moments are all of the run so far, in order. It needs w.mu.
func (r *run) moments() []moment {
	all := append(r.seen.moments(r.clock), r.deeds...)
	sort.SliceStable(all, func(i, j int) bool { return all[i].at.Before(all[j].at) })
	return all
}

// tell prints new moments. It needs w.mu.
func (w *World) tell(r *run) {
	for _, m := range r.moments() {
		if !w.printed[m.key] {
			w.printed[m.key] = true
			w.printf("%s  %s\n", hhmm(m.at), m.Text)
		}
	}
	if s := r.summary(); s != nil && !w.printed["summary"] {
		w.printed["summary"] = true
		w.printf("\n%s\n%s\nThe page stays up; Ctrl-C ends the demo.\n\n", s.Then, s.Now)
	}
}

// decide asks the scripted engineer what to do. It needs w.mu.
func (r *run) decide(now time.Time) (deed, situation) {
	in := r.seen.main()
	if in == nil || r.sleeps {
		return deedNone, situation{}
	}
	s := situation{now: r.clock.story(now), incident: in, patched: !r.patched.IsZero(), lastTry: r.lastTry,
		restarted: r.restart.After(r.clock.story(in.TriggeredAt))}
	if t := r.seen.told("bo", in.TriggeredAt); !t.IsZero() {
		s.told = r.clock.story(t)
	}
	if !in.AcknowledgedAt.IsZero() {
		s.acked = r.clock.story(in.AcknowledgedAt)
	}
	todo := next(s)
	if todo != deedNone {
		r.lastTry = s.now
	}
	return todo, s
}

// act does what the engineer decided, through Slack where a person would.
func (w *World) act(ctx context.Context, base string, r *run, todo deed, s situation) {
	var err error
	switch todo {
	case deedAck:
		bo, _ := personNamed("bo")
		msgs := w.slack.Messages(bo.slack)
		if len(msgs) == 0 {
			msgs = w.slack.Messages(channelName)
		}
		if len(msgs) == 0 {
			return
		}
		err = w.press(ctx, base, msgs[len(msgs)-1], "tocsin_acknowledge", bo.slack)
	case deedRestart:
		w.restartService(title(s.incident.AcknowledgedBy) + " restarts")
	case deedPatch:
		w.patchService()
	}
	if err != nil && ctx.Err() == nil {
		w.opts.Logger.Warn("The engineer of the story could not act and tries again", "deed", todo, "err", err)
	}
}

func (w *World) press(ctx context.Context, base string, m slacktest.Message, action, user string) error {
	return accepted(w.slack.Press(ctx, base, m, action, user))
}

// accepted turns an answer that is no success into an error.
func accepted(a slacktest.Answer, err error) error {
	if err == nil && a.Status != http.StatusOK {
		err = fmt.Errorf("tocsin answered a press with status %d", a.Status)
	}
	return err
}

// restartService restarts the session service's instances one after the other, unless that is going on
// already. who begins the sentence that tells of it: "Bo restarts".
func (w *World) restartService(who string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.now
	if at := r.service.now; at.Sub(r.restart) > 4*time.Minute {
		r.service.rollingRestart()
		r.restart = at
		r.deeds = append(r.deeds, moment{key: "restart" + at.String(), at: at, Kind: kindActed, Text: who + " the session service. That helps for a while."})
	}
}

// patchService makes the service clear its expired sessions.
func (w *World) patchService() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.now; r.patched.IsZero() {
		r.service.patch()
		r.patched = r.service.now
		r.deeds = append(r.deeds, moment{key: "patch", at: r.patched, Kind: kindActed, Text: "The patch is applied: expired sessions are cleared again."})
	}
}
