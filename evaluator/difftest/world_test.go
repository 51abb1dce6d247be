package difftest

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/prometheus/prometheus/model/labels"
	promrules "github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"

	"tocsin/evaluator"
	"tocsin/evaluator/prometheus"
	"tocsin/oncall"
	"tocsin/rules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// forgetful is a store that takes everything and is never asked for it again.
type forgetful struct {
	mu      sync.Mutex
	changes int
}

func (*forgetful) LoadEvaluator(context.Context) (oncall.EvaluatorState, error) {
	return oncall.EvaluatorState{}, nil
}

func (f *forgetful) CommitEvaluation(_ context.Context, _ oncall.Write, e oncall.Evaluation) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes += len(e.Changes)
	return nil
}

// world is one rule file evaluated by both, in a bubble of virtual time.
type world struct {
	interval time.Duration
	src      *source            // that tocsin asks
	other    *source            // that Prometheus' rules ask
	to       storage.Appendable // where they write
	store    *forgetful
	theirs   *oracle
	ours     *evaluator.Evaluator
	plan     evaluator.Plan
	stop     context.CancelFunc
	done     chan error

	beats    int
	last     time.Time                    // the evaluation before this one
	exceeded map[string]bool              // rules that exceeded the limit, and may differ for now
	apart    map[string]bool              // alerts that may differ for now, by rule and labels
	rendered map[string]map[string]string // annotations that Prometheus had at the last transition
	early    map[string]time.Time         // when tocsin's alert fired that fired in time, before Prometheus'
	states   map[string]string            // what Prometheus had at the last evaluation
	kept     map[string]time.Time         // since when keep_firing_for held it there

	alerts, transitions, evaluations int // for the report
}

// newWorld reads the rules and starts the evaluator, on one source for both. Call halt in the end.
func newWorld(ctx context.Context, text string, interval time.Duration, src *source) (*world, error) {
	return newWorlds(ctx, text, interval, src, src, nil, nowhere{})
}

// newWorlds is newWorld with a source for tocsin and one for Prometheus, and with where each writes.
func newWorlds(ctx context.Context, text string, interval time.Duration, src, other *source, rec evaluator.Recorder, to storage.Appendable) (*world, error) {
	client, err := prometheus.New(prometheus.Config{URL: &url.URL{Scheme: "http", Host: "prometheus.example"}}, prometheus.WithTransport(src))
	if err != nil {
		return nil, err
	}
	w := &world{interval: interval, src: src, other: other, to: to, store: &forgetful{}, apart: map[string]bool{}, exceeded: map[string]bool{},
		rendered: map[string]map[string]string{}, states: map[string]string{}, kept: map[string]time.Time{}, early: map[string]time.Time{}}
	w.plan = evaluator.Plan{Backend: client, BackendName: "test", ExternalURL: externalURL, ExternalLabels: external, Interval: interval}
	w.ours = evaluator.New(evaluator.Options{Store: w.store})
	w.ours.Outputs(rec, nil)
	if err := w.load(text); err != nil {
		return nil, err
	}
	ctx, w.stop = context.WithCancel(ctx)
	w.done = make(chan error, 1)
	go func() { w.done <- w.ours.Run(ctx, oncall.Lease{}, time.Time{}) }()
	return w, nil
}

// load makes text the rule file of both, at the start and at a reload.
func (w *world) load(text string) error {
	set, problems := rules.Read([]string{"rules.yml"}, func(string) ([]byte, error) { return []byte(text), nil })
	if errs := problems.Errors(); len(errs) > 0 {
		return fmt.Errorf("tocsin refuses the rules: %v", errs)
	}
	theirs, err := newOracle(text, w.interval, w.other, w.to, w.theirs)
	if err != nil {
		return err
	}
	w.theirs, w.plan.Groups = theirs, set.Groups
	w.ours.Apply(w.plan)
	return nil
}

func (w *world) halt() error {
	w.stop()
	return <-w.done
}

// step waits for the group's next evaluation, lets Prometheus evaluate at the same instant, and compares.
func (w *world) step() []string {
	if w.beats > 1 { // the first evaluation is not on the grid
		<-time.After(time.Until(w.last.Add(w.interval)))
		synctest.Wait()
	}
	for limit := time.Now().Add(3 * w.interval); ; {
		if n, at := w.src.beat(); n > w.beats {
			w.beats = n
			at = at.Add(w.plan.Groups[0].QueryOffset)
			w.theirs.group.Eval(context.Background(), at)
			w.evaluations++
			problems := w.compare(at)
			w.last = at
			return problems
		}
		if time.Now().After(limit) {
			return []string{fmt.Sprintf("no evaluation within %s", 3*w.interval)}
		}
		<-time.After(10 * time.Millisecond)
		synctest.Wait()
	}
}

// compare holds the alerts of both against each other after the evaluation at an instant.
func (w *world) compare(at time.Time) (problems []string) {
	groups := w.ours.Groups()
	if len(groups) != 1 || len(groups[0].Rules) != len(w.theirs.rules) {
		return []string{"the groups differ"}
	}
	for i, theirs := range w.theirs.rules {
		for _, p := range w.rule(at, theirs, &groups[0].Rules[i], groups[0].Limit) {
			problems = append(problems, fmt.Sprintf("%s: %s: %s", at.Format("15:04:05.000"), theirs.Name(), p))
		}
	}
	return problems
}

// rule compares one rule.
func (w *world) rule(at time.Time, theirs promrules.Rule, ours *evaluator.RuleStatus, limit int) (problems []string) {
	have := map[string]*evaluator.AlertStatus{}
	for i := range ours.Alerts {
		have[ours.Alerts[i].Labels.String()] = &ours.Alerts[i]
	}
	want := map[string]*promrules.Alert{}
	if r, ok := theirs.(*promrules.AlertingRule); ok {
		for _, a := range r.ActiveAlerts() {
			want[a.Labels.String()] = a
		}
	}
	if limit > 0 && w.limited(ours.Name, theirs, ours, len(want)+len(have) == 0) {
		return nil
	}
	if string(theirs.Health()) != ours.Health {
		problems = append(problems, fmt.Sprintf("health is %s (%s), Prometheus has %s (%v)", ours.Health, ours.LastError, theirs.Health(), theirs.LastError()))
	}
	keys := map[string]bool{}
	for k := range have {
		keys[k] = true
	}
	for k := range want {
		keys[k] = true
	}
	prefix := ours.Name + " "
	for k := range w.apart {
		if rest, mine := strings.CutPrefix(k, prefix); mine && !keys[rest] {
			delete(w.apart, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		id := prefix + k
		problem := w.alert(id, at, ours, want[k], have[k])
		switch {
		case problem == "":
			delete(w.apart, id)
		case w.apart[id]:
		case held(at, ours, want[k], have[k]) || w.inTime(id, at, ours, want[k], have[k]):
			w.apart[id] = true
		default:
			problems = append(problems, k+": "+problem)
		}
	}
	w.note(prefix, want)
	return problems
}

// limited reports whether a rule has exceeded its group's limit, and not been without alerts since. Prometheus
// has forgotten its alerts then, and tocsin has not.
func (w *world) limited(name string, theirs promrules.Rule, ours *evaluator.RuleStatus, empty bool) bool {
	err := theirs.LastError()
	exceeded := err != nil && strings.Contains(err.Error(), "exceeded limit") || strings.Contains(ours.LastError, "exceeded the group's limit")
	switch {
	case exceeded:
		w.exceeded[name] = true
	case empty:
		delete(w.exceeded, name)
	}
	return w.exceeded[name]
}

// note remembers what Prometheus has, for what is compared to the evaluation before.
func (w *world) note(prefix string, want map[string]*promrules.Alert) {
	for id := range w.states {
		if k, mine := strings.CutPrefix(id, prefix); mine && want[k] == nil {
			delete(w.states, id)
			delete(w.rendered, id)
			delete(w.kept, id)
		}
	}
	for k, a := range want {
		id := prefix + k
		w.alerts++
		w.kept[id] = a.KeepFiringSince
		if w.states[id] != a.State.String() {
			w.transitions++
			w.states[id] = a.State.String()
			w.rendered[id] = a.Annotations.Map()
		}
	}
}

// alert compares one alert and says how they differ.
func (w *world) alert(id string, at time.Time, rule *evaluator.RuleStatus, want *promrules.Alert, have *evaluator.AlertStatus) string {
	if want == nil || have == nil {
		return fmt.Sprintf("tocsin has %s, Prometheus has %s", ourState(have), theirState(want))
	}
	var differ []string
	check := func(what string, equal bool, have, want any) {
		if !equal {
			differ = append(differ, fmt.Sprintf("%s is %v, Prometheus has %v", what, have, want))
		}
	}
	check("state", string(have.State) == want.State.String(), have.State, want.State)
	check("active_at", have.ActiveAt.Equal(want.ActiveAt), have.ActiveAt, want.ActiveAt)
	if w.within(have.FiredAt, at) && !have.FiredAt.Before(have.ActiveAt.Add(rule.For)) {
		w.early[id] = have.FiredAt
	}
	early := !have.FiredAt.IsZero() && have.FiredAt.Equal(w.early[id]) && have.FiredAt.Before(want.FiredAt) && want.FiredAt.Sub(have.FiredAt) < w.interval
	check("fired_at", have.FiredAt.Equal(want.FiredAt) || early, have.FiredAt, want.FiredAt)
	check("keep_firing_since", have.KeepFiringSince.Equal(want.KeepFiringSince), have.KeepFiringSince, want.KeepFiringSince)
	check("value", same(have.Value, want.Value), have.Value, want.Value)
	now := want.Annotations.Map()
	// What fired early was rendered at an instant that Prometheus never saw. Where a rule takes a label away,
	// another series may stand for the alert than did at its transition.
	stands := dropsLabels(rule) && w.states[id] == want.State.String()
	check("annotations", rendered(have.Annotations, now, w.rendered[id]) || early || stands, have.Annotations, now)
	if len(differ) > 0 {
		differ = append(differ, fmt.Sprintf("tocsin has %s, Prometheus has %s", ourState(have), theirState(want)))
	}
	return strings.Join(differ, "; ")
}

// dropsLabels reports whether a rule takes a label away.
func dropsLabels(rule *evaluator.RuleStatus) (drops bool) {
	rule.Labels.Range(func(l labels.Label) { drops = drops || l.Value == "" })
	return drops
}

// rendered reports whether every annotation is as Prometheus has it, or had it at the last transition: those
// whose template asks a query stay as they were.
func rendered(have, now, then map[string]string) bool {
	for name, text := range have {
		if text != now[name] && text != then[name] {
			return false
		}
	}
	return len(have) == len(now) || len(have) == len(then)
}

// same tells -0 from 0, but no NaN from another: their bits do not travel.
func same(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || math.IsNaN(a) && math.IsNaN(b)
}

// inTime reports whether two alerts may differ because tocsin is not late: a for or a keep_firing_for ended
// since the last evaluation, and the series is another now than it was then.
func (w *world) inTime(id string, at time.Time, rule *evaluator.RuleStatus, want *promrules.Alert, have *evaluator.AlertStatus) bool {
	switch {
	case have != nil && have.State == oncall.StateFiring && w.within(have.FiredAt, at) && !have.FiredAt.Before(have.ActiveAt.Add(rule.For)):
		return true // it fired in time, and keep_firing_for holds it
	case want != nil && !w.kept[id].IsZero() && w.within(w.kept[id].Add(rule.KeepFiringFor), at) && (have == nil || have.ActiveAt.Equal(at)):
		return true // it ended in time, and began anew
	}
	return false
}

// held reports whether keep_firing_for holds an alert that Prometheus made pending because for was raised,
// although its series is gone.
func held(at time.Time, rule *evaluator.RuleStatus, want *promrules.Alert, have *evaluator.AlertStatus) bool {
	return want != nil && have != nil && want.State == promrules.StatePending && !have.KeepFiringSince.IsZero() &&
		have.ActiveAt.Equal(want.ActiveAt) && at.Sub(have.ActiveAt) < rule.For
}

// within reports whether t is between the last evaluation and this one.
func (w *world) within(t, at time.Time) bool { return t.After(w.last) && t.Before(at) }

func ourState(a *evaluator.AlertStatus) string {
	if a == nil {
		return "none"
	}
	return fmt.Sprintf("one %s (active %s, fired %s, kept %s)", a.State, clock(a.ActiveAt), clock(a.FiredAt), clock(a.KeepFiringSince))
}

func theirState(a *promrules.Alert) string {
	if a == nil {
		return "none"
	}
	return fmt.Sprintf("one %s (active %s, fired %s, kept %s)", a.State, clock(a.ActiveAt), clock(a.FiredAt), clock(a.KeepFiringSince))
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format("15:04:05.000")
}
