package difftest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"pgregory.net/rapid"

	"tocsin/evaluator"
)

// ledger is a database that rules write to and read from.
type ledger struct {
	base database

	mu      sync.Mutex
	written map[string]*series
}

func newLedger(base database) *ledger { return &ledger{base: base, written: map[string]*series{}} }

func (l *ledger) Querier(mint, maxt int64) (storage.Querier, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Clone(l.base)
	for _, s := range l.written {
		all = append(all, series{s.labels, slices.Clip(s.points)})
	}
	return all.Querier(mint, maxt)
}

// add takes a sample as a TSDB does: none before the last one, nor another at its instant.
func (l *ledger) add(ls labels.Labels, t int64, v float64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.written[ls.String()]
	if s == nil {
		s = &series{labels: ls}
		l.written[ls.String()] = s
	}
	if n := len(s.points); n > 0 && t <= s.points[n-1].t {
		if last := s.points[n-1]; t < last.t || !same(v, last.f) {
			return storage.ErrOutOfOrderSample
		}
		return nil
	}
	s.points = append(s.points, point{t: t, f: v})
	return nil
}

// Behind is never true: what is written is there.
func (l *ledger) Behind() bool { return false }

// Write takes what tocsin writes. It is an evaluator.Recorder.
func (l *ledger) Write(_ context.Context, list []evaluator.Series) error {
	for _, s := range list {
		if err := l.add(s.Labels, s.T, s.V); err != nil {
			return fmt.Errorf("%s at %d: %w", s.Labels, s.T, err)
		}
	}
	return nil
}

// Appender takes what Prometheus' rules write.
func (l *ledger) Appender(context.Context) storage.Appender { return appender{to: l} }

type appender struct {
	discard
	to *ledger
}

func (a appender) Append(_ storage.SeriesRef, ls labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	return 0, a.to.add(ls, t, v)
}

// differs says where two ledgers do; "" if they do not.
func (l *ledger) differs(theirs *ledger) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	theirs.mu.Lock()
	defer theirs.mu.Unlock()
	keys := map[string]bool{}
	for k := range l.written {
		keys[k] = true
	}
	for k := range theirs.written {
		keys[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		a, b := l.written[k], theirs.written[k]
		if a == nil || b == nil || !slices.EqualFunc(a.points, b.points, func(x, y point) bool { return x.t == y.t && same(x.f, y.f) }) {
			return fmt.Sprintf("%s: tocsin wrote %s, Prometheus %s", k, a, b)
		}
	}
	return ""
}

func (s *series) String() string {
	if s == nil {
		return "nothing"
	}
	var out []string
	for _, p := range s.points {
		out = append(out, fmt.Sprintf("%v@%d", p.f, p.t/1000))
	}
	return strings.Join(out, " ")
}

// TestRandomRecording evaluates recording and alerting rules that read what the rules before them wrote, and
// compares also every sample that both wrote: recorded series, ALERTS, ALERTS_FOR_STATE, and where they end.
// Every for and keep_firing_for ends on the grid here: an extra evaluation would write what Prometheus does not.
func TestRandomRecording(t *testing.T) {
	t.Parallel()
	written := 0
	rapid.Check(t, func(rt *rapid.T) {
		text, plan, down := drawRecording(rt)
		var problems []string
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			base := plan.database(start.Add(2 * interval)) // the first evaluation is not on the grid, and sees nothing
			ours, theirs := newLedger(base), newLedger(base)
			src, other := newSource(ours, lookback), newSource(theirs, lookback)
			src.down = func(at time.Time) bool { return down[int(at.Sub(start)/interval)] }
			other.down = src.down
			w, err := newWorlds(t.Context(), text, interval, src, other, ours, theirs)
			if err != nil {
				problems = append(problems, err.Error())
				return
			}
			for slot := 0; slot < slots && len(problems) == 0; slot++ {
				problems = w.step()
				if d := ours.differs(theirs); d != "" {
					problems = append(problems, d)
				}
			}
			if err := w.halt(); err != nil {
				problems = append(problems, err.Error())
			}
			for _, s := range theirs.written {
				written += len(s.points)
			}
		})
		if len(problems) > 0 {
			rt.Fatalf("%s\ndown at %v\n%s\nseries:\n%s", strings.Join(problems, "\n"), slices.Sorted(maps.Keys(down)), text, plan)
		}
	})
	t.Logf("compared %d samples that rules wrote", written)
}

func drawRecording(rt *rapid.T) (string, seriesPlan, map[int]bool) {
	var b strings.Builder
	offset := rapid.SampledFrom([]string{"0s", "0s", "7s"}).Draw(rt, "query_offset")
	fmt.Fprintf(&b, "groups:\n- name: random\n  query_offset: %s\n  labels: {team: shop}\n  rules:\n  - alert: Heartbeat\n    expr: %s\n", offset, heartbeat)
	for i := range rapid.IntRange(1, 6).Draw(rt, "rules") {
		vector := rapid.SampledFrom([]string{"m0", "m1", "rec0", "rec0", "rec1", "rec2", "sum by (i) (m0)", `ALERTS{alertstate="firing"}`, "ALERTS_FOR_STATE",
			"count by (i) (ALERTS)", "m0 + on(i, j) rec0", "rec0 offset 10s", "max_over_time(rec0[30s])", `{__name__=~"rec.*"}`, "(m0 or rec0)"}).Draw(rt, "vector")
		if rapid.Bool().Draw(rt, "records") {
			label := rapid.SampledFrom([]string{"static: yes", "static: yes", `i: ""`, "j: fixed"}).Draw(rt, "label")
			fmt.Fprintf(&b, "  - record: rec%d\n    expr: %q\n    labels: {%s}\n", i, vector, label)
			continue
		}
		onGrid := rapid.SampledFrom([]string{"0s", "0s", "10s", "30s"})
		number := rapid.SampledFrom([]string{"0", "1", "2"}).Draw(rt, "number")
		fmt.Fprintf(&b, "  - alert: R%d\n    expr: %q\n    for: %s\n    keep_firing_for: %s\n    labels: {severity: '{{ if gt $value 1.0 }}critical{{ else }}warning{{ end }}'}\n",
			i, vector+" > "+number, onGrid.Draw(rt, "for"), onGrid.Draw(rt, "keep_firing_for"))
	}
	down := map[int]bool{}
	for range rapid.IntRange(0, 2).Draw(rt, "outages") {
		down[rapid.IntRange(2, slots).Draw(rt, "down")] = true
	}
	return b.String(), drawSeries(rt), down
}
