package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/alertmanager/eventrecorder"
	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/silence/silencepb"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

// silenceDuel does the same to silences of ours and of Alertmanager's.
type silenceDuel struct {
	ours   map[string]oncall.Silence
	theirs *silence.Silences
	names  map[string]string // their ID → ours
	n      int
}

var silencePatterns = map[amlabels.MatchType]silencepb.Matcher_Type{
	amlabels.MatchEqual: silencepb.Matcher_EQUAL, amlabels.MatchNotEqual: silencepb.Matcher_NOT_EQUAL,
	amlabels.MatchRegexp: silencepb.Matcher_REGEXP, amlabels.MatchNotRegexp: silencepb.Matcher_NOT_REGEXP,
}

// silenceStep is one thing done: the silence and the times are relative to what is there when it is done.
type silenceStep struct {
	pass       time.Duration // before it
	which      int           // of the known silences; -1: a new one, -2: one that nobody knows
	expire     bool
	matchers   amlabels.Matchers // of a new one, or when changed
	changed    bool
	start, end time.Duration // from now
	keepStart  bool
}

func (d *silenceDuel) do(step silenceStep) error {
	time.Sleep(step.pass)
	id, theirID := "", ""
	if step.which == -2 {
		id, theirID = "gone", "gone"
	} else if list, _, _ := d.theirs.Query(context.Background()); step.which >= 0 && len(list) > 0 {
		slices.SortFunc(list, func(a, b *silencepb.Silence) int { return strings.Compare(d.names[a.Id], d.names[b.Id]) })
		theirID = list[step.which%len(list)].Id
		id = d.names[theirID]
	}
	if step.expire {
		return d.expire(id, theirID)
	}
	prev, known := d.ours[id]
	s := oncall.Silence{ID: id, Matchers: prev.Matchers, StartsAt: prev.StartsAt, EndsAt: time.Now().Add(step.end)}
	if !known || step.changed {
		s.Matchers = step.matchers
	}
	if !known || !step.keepStart {
		s.StartsAt = time.Now().Add(step.start)
	}
	return d.set(s, theirID)
}

func (d *silenceDuel) set(s oncall.Silence, theirID string) error {
	p := &silencepb.Silence{Id: theirID, StartsAt: timestamppb.New(s.StartsAt), EndsAt: timestamppb.New(s.EndsAt), MatcherSets: []*silencepb.MatcherSet{{}}}
	for _, m := range s.Matchers {
		p.MatcherSets[0].Matchers = append(p.MatcherSets[0].Matchers, &silencepb.Matcher{Type: silencePatterns[m.Type], Name: m.Name, Pattern: m.Value})
	}
	now := time.Now()
	// Their API asks for these two before it sets a silence.
	theirErr := errors.New("times")
	if p.StartsAt.AsTime().Before(p.EndsAt.AsTime()) && !p.EndsAt.AsTime().Before(now) {
		theirErr = d.theirs.Set(context.Background(), p)
	}
	err := oncall.CheckSilence(s, oncall.MatchersFallback, now)
	var changed []oncall.Silence
	if err == nil {
		prev, found := d.ours[s.ID]
		d.n++
		changed, err = oncall.SetSilence(prev, found, s, fmt.Sprintf("ours-%02d", d.n), now)
	}
	if (err == nil) != (theirErr == nil) || errors.Is(theirErr, silence.ErrNotFound) != (oncall.ErrorCode(err) == oncall.CodeNotFound) {
		return fmt.Errorf("%+v: %v; Alertmanager: %v", s, err, theirErr)
	}
	if err != nil {
		return nil
	}
	for _, c := range changed {
		d.ours[c.ID] = c
	}
	last := changed[len(changed)-1]
	if (last.ID == s.ID) != (p.Id == theirID) {
		return fmt.Errorf("%+v: ID %q; Alertmanager: %q before %q", s, last.ID, p.Id, theirID)
	}
	d.names[p.Id] = last.ID
	return nil
}

func (d *silenceDuel) expire(id, theirID string) error {
	s, known := d.ours[id]
	if err := d.theirs.Expire(context.Background(), theirID); (err == nil) != known {
		return fmt.Errorf("known is %v; Alertmanager: %v", known, err)
	}
	if known {
		for _, c := range oncall.ExpireSilence(s, time.Now()) {
			d.ours[id] = c
		}
	}
	return nil
}

func (d *silenceDuel) compare() error {
	all, _, err := d.theirs.Query(context.Background())
	if err != nil || len(all) != len(d.ours) {
		return fmt.Errorf("%d silences; Alertmanager: %d, %v", len(d.ours), len(all), err)
	}
	now := time.Now()
	for _, p := range all {
		s := d.ours[d.names[p.Id]]
		if !s.StartsAt.Equal(p.StartsAt.AsTime()) || !s.EndsAt.Equal(p.EndsAt.AsTime()) || !s.UpdatedAt.Equal(p.UpdatedAt.AsTime()) {
			return fmt.Errorf("%+v; Alertmanager: %v", s, p)
		}
		// At the very end theirs is still active: an ended silence of ours mutes no more.
		if state := silence.CurrentState(p.StartsAt.AsTime(), p.EndsAt.AsTime()); string(state) != string(s.State(now)) && !now.Equal(s.EndsAt) {
			return fmt.Errorf("%+v is %s; Alertmanager: %s", s, s.State(now), state)
		}
	}
	return nil
}

func drawSilenceStep(t *rapid.T) silenceStep {
	step := silenceStep{
		pass:  time.Duration(rapid.IntRange(0, 4).Draw(t, "pass"))*30*time.Second + time.Millisecond, // never at the end of a silence
		which: rapid.IntRange(-2, 5).Draw(t, "which"), expire: rapid.IntRange(0, 3).Draw(t, "expire") == 0,
		changed: rapid.IntRange(0, 3).Draw(t, "changed") == 0, keepStart: rapid.Bool().Draw(t, "keep start"),
		start: time.Duration(rapid.IntRange(-3, 3).Draw(t, "start")) * 20 * time.Second,
		end:   time.Duration(rapid.IntRange(-3, 10).Draw(t, "end")) * 20 * time.Second,
	}
	for range rapid.IntRange(0, 3).Draw(t, "matchers") {
		typ := amlabels.MatchType(rapid.IntRange(0, 3).Draw(t, "type"))
		value := rapid.SampledFrom([]string{"", "x", "x|", ".*", ".+", "\xff", "ü", "a)|(b", "x*"}).Draw(t, "value")
		if m, err := amlabels.NewMatcher(typ, rapid.SampledFrom([]string{"a", "b", "größe", "", "\xff", "a b"}).Draw(t, "name"), value); err == nil {
			step.matchers = append(step.matchers, m)
		}
	}
	return step
}

// TestSilencesAreAlertmanagers: whatever is set, changed and ended, at whatever time, the same is accepted, the
// same IDs stay, and the silences begin and end at the same instants.
func TestSilencesAreAlertmanagers(outer *testing.T) {
	defaultMode()
	rapid.Check(outer, func(t *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawSilenceStep), 1, 20).Draw(t, "steps")
		var err error
		synctest.Test(outer, func(t *testing.T) {
			theirs, newErr := silence.New(silence.Options{Metrics: prometheus.NewRegistry(), Retention: time.Hour, EventRecorder: eventrecorder.NopRecorder()})
			d := &silenceDuel{ours: map[string]oncall.Silence{}, theirs: theirs, names: map[string]string{}}
			for err = newErr; err == nil && len(steps) > 0; steps = steps[1:] {
				if err = d.do(steps[0]); err == nil {
					err = d.compare()
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
