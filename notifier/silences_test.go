package notifier_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	"tocsin/oncall"
)

// silenceShelf is a store of silences that other processes share.
type silenceShelf struct {
	mu      sync.Mutex
	all     map[string]oncall.Silence
	version int64
	reads   int    // of all silences
	down    error  // before the write
	after   error  // after the write, which is not said to have happened
	racing  func() // runs between a commit and its answer
}

func (f *silenceShelf) Silences(context.Context) ([]oncall.Silence, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	return slices.Collect(maps.Values(f.all)), f.version, f.down
}

func (f *silenceShelf) SilencesVersion(context.Context) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.version, f.down
}

func (f *silenceShelf) UpdateSilence(_ context.Context, _ oncall.Write, id string,
	decide func(oncall.Silence, bool) ([]oncall.Silence, error)) ([]oncall.Silence, error) {
	f.mu.Lock()
	if f.down != nil {
		f.mu.Unlock()
		return nil, f.down
	}
	s, found := f.all[id]
	_, _ = decide(s, found) // a decision may be asked for twice
	changed, err := decide(s, found)
	if err == nil {
		f.put(changed...)
		err = f.after
	}
	racing := f.racing
	f.mu.Unlock()
	if racing != nil {
		racing()
	}
	return changed, err
}

func (f *silenceShelf) put(changed ...oncall.Silence) {
	for _, s := range changed {
		f.all[s.ID] = s
		f.version++
	}
}

// silenceRig runs f in a bubble, on a shelf with a service that has read it.
func silenceRig(t *testing.T, f func(t *testing.T, shelf *silenceShelf, s *notifier.Silences, changed *atomic.Int64)) {
	synctest.Test(t, func(t *testing.T) {
		shelf, changed, n := &silenceShelf{all: map[string]oncall.Silence{}}, &atomic.Int64{}, 0
		s := notifier.NewSilences(notifier.SilencesOptions{
			Store: shelf, Changed: func() { changed.Add(1) }, Registerer: prometheus.NewRegistry(),
			NewID: func() string { n++; return fmt.Sprint("id-", n) },
		})
		if set, version := s.Current(); version != 0 || len(set.List(time.Now())) != 0 {
			t.Fatalf("version %d before Refresh", version)
		}
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		f(t, shelf, s, changed)
	})
}

func newSilence(t *testing.T, matchers string, d time.Duration) oncall.Silence {
	t.Helper()
	ms, err := oncall.ParseMatchers(matchers, oncall.MatchersFallback)
	if err != nil {
		t.Fatal(err)
	}
	return oncall.Silence{Matchers: ms, EndsAt: time.Now().Add(d), CreatedBy: "ana", Comment: "upgrade"}
}

var silencedAlert = labels.FromStrings("alertname", "SessionMemoryHigh", "team", "shop")

func muting(s *notifier.Silences) string {
	set, _ := s.Current()
	return strings.Join(set.Muting(silencedAlert, time.Now()), " ")
}

// TestSilences: what is set mutes at once, what is changed keeps its ID where it can, what is ended mutes no more.
func TestSilences(t *testing.T) {
	silenceRig(t, func(t *testing.T, shelf *silenceShelf, s *notifier.Silences, changed *atomic.Int64) {
		ctx := t.Context()
		_, before := s.Current()
		id, warnings, err := s.Set(ctx, newSilence(t, `team=shop`, time.Hour))
		if err != nil || id != "id-1" || warnings != nil || muting(s) != "id-1" {
			t.Fatal(id, warnings, err, muting(s))
		}
		if _, now := s.Current(); now <= before || changed.Load() != 2 {
			t.Errorf("version %d after %d; %d changes told", now, before, changed.Load())
		}
		time.Sleep(time.Minute)
		sil, err := s.Get(id)
		if err != nil || sil.Comment != "upgrade" {
			t.Fatal(sil, err)
		}
		sil.EndsAt = sil.EndsAt.Add(time.Hour)
		if id, _, err := s.Set(ctx, sil); err != nil || id != "id-1" {
			t.Fatal(id, err)
		}
		sil.Matchers = newSilence(t, `team=~".+"`, 0).Matchers
		if id, _, err = s.Set(ctx, sil); err != nil || id != "id-3" || muting(s) != "id-3" {
			t.Fatal(id, err, muting(s))
		}
		if list := s.List(time.Now()); len(list) != 2 || list[0].ID != "id-3" || list[1].State(time.Now()) != oncall.SilenceExpired {
			t.Errorf("%v", list)
		}
		for range 2 {
			if sil, err := s.Expire(ctx, id); err != nil || sil.ID != id || sil.State(time.Now()) != oncall.SilenceExpired || muting(s) != "" {
				t.Fatal(sil, err)
			}
		}
		_, warnings, err = s.Set(ctx, newSilence(t, `alertname=~".+"`, time.Hour))
		if err != nil || len(warnings) != 1 {
			t.Error(warnings, err)
		}
		if shelf.reads != 1 {
			t.Errorf("read all silences %d times", shelf.reads)
		}
	})
}

// TestSilencesCounted: the silences are counted as they stand when somebody looks.
func TestSilencesCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		s := notifier.NewSilences(notifier.SilencesOptions{Store: &silenceShelf{all: map[string]oncall.Silence{}}, Registerer: registry})
		window := newSilence(t, `team=shop`, 2*time.Hour)
		window.StartsAt = time.Now().Add(time.Hour)
		for _, sil := range []oncall.Silence{window, newSilence(t, `team=shop`, 3*time.Hour), newSilence(t, `team=shop`, 30*time.Minute)} {
			if _, _, err := s.Set(t.Context(), sil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		want := `# HELP tocsin_silences Silences that are kept, by state.
# TYPE tocsin_silences gauge
tocsin_silences{state="active"} 2
tocsin_silences{state="expired"} 1
tocsin_silences{state="pending"} 0
`
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "tocsin_silences"); err != nil {
			t.Error(err)
		}
	})
}

// TestSilencesRefuse: every error has its code, and changes nothing.
func TestSilencesRefuse(t *testing.T) {
	silenceRig(t, func(t *testing.T, shelf *silenceShelf, s *notifier.Silences, changed *atomic.Int64) {
		unknown := newSilence(t, `team=shop`, time.Hour)
		unknown.ID = "gone"
		_, _, invalid := s.Set(t.Context(), newSilence(t, `team=shop`, -time.Hour))
		_, _, notFound := s.Set(t.Context(), unknown)
		_, expireErr := s.Expire(t.Context(), "gone")
		_, getErr := s.Get("gone")
		shelf.down = oncall.Errorf(oncall.CodeUnavailable, "disk full")
		_, _, down := s.Set(t.Context(), newSilence(t, `team=shop`, time.Hour))
		refresh := s.Refresh(t.Context())
		for _, tc := range []struct {
			err  error
			code oncall.Code
		}{{invalid, oncall.CodeInvalid}, {notFound, oncall.CodeNotFound}, {expireErr, oncall.CodeNotFound}, {getErr, oncall.CodeNotFound}, {down, oncall.CodeUnavailable}, {refresh, oncall.CodeUnavailable}} {
			if oncall.ErrorCode(tc.err) != tc.code {
				t.Errorf("%v is %s, expected %s", tc.err, oncall.ErrorCode(tc.err), tc.code)
			}
		}
		if len(shelf.all) != 0 || changed.Load() != 1 {
			t.Errorf("%v, %d changes told", shelf.all, changed.Load())
		}
	})
}

// TestSilencesHaveABound: no further one is made, expired ones count, and what stands can be changed and ended.
func TestSilencesHaveABound(t *testing.T) {
	shelf := &silenceShelf{all: map[string]oncall.Silence{}}
	s := notifier.NewSilences(notifier.SilencesOptions{Store: shelf, Max: 2, Registerer: prometheus.NewRegistry()})
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, _, err := s.Set(t.Context(), newSilence(t, "team=a", time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = s.Set(t.Context(), newSilence(t, "team=b", time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Expire(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Set(t.Context(), newSilence(t, "team=c", time.Hour)); oncall.ErrorCode(err) != oncall.CodeConflict || !strings.Contains(err.Error(), "there are 2 silences already") {
		t.Errorf("a third one: %v", err)
	}
	for _, b := range s.List(time.Now()) {
		if b.ID == a {
			continue
		}
		b.EndsAt = b.EndsAt.Add(time.Hour)
		if _, _, err := s.Set(t.Context(), b); err != nil {
			t.Errorf("a longer one in place of one that stands: %v", err)
		}
	}
}

// TestSilencesOfOthers: what another process sets arrives with the next Refresh, which reads only then; and a write
// whose outcome is unknown does too.
func TestSilencesOfOthers(t *testing.T) {
	silenceRig(t, func(t *testing.T, shelf *silenceShelf, s *notifier.Silences, changed *atomic.Int64) {
		refresh := func(reads int) {
			t.Helper()
			if err := s.Refresh(t.Context()); err != nil || shelf.reads != reads {
				t.Errorf("%d reads, expected %d; %v", shelf.reads, reads, err)
			}
		}
		refresh(1)
		theirs := newSilence(t, `team=shop`, time.Hour)
		theirs.ID, theirs.StartsAt = "theirs", time.Now()
		shelf.put(theirs)
		refresh(2)
		if muting(s) != "theirs" {
			t.Error(muting(s))
		}
		shelf.after = errors.New("the connection was lost")
		if _, _, err := s.Set(t.Context(), newSilence(t, `team=shop`, time.Hour)); err == nil {
			t.Error("no error")
		}
		refresh(3)
		refresh(3)
		if muting(s) != "id-1 theirs" {
			t.Error(muting(s))
		}
	})
}

// TestSilencesRace: between our commit and its answer somebody else extends the silence, and we read that. The
// older state of ours must not stay.
func TestSilencesRace(t *testing.T) {
	silenceRig(t, func(t *testing.T, shelf *silenceShelf, s *notifier.Silences, changed *atomic.Int64) {
		shelf.racing = func() {
			time.Sleep(time.Millisecond)
			longer := shelf.all["id-1"]
			longer.EndsAt, longer.UpdatedAt = longer.EndsAt.Add(time.Hour), time.Now()
			shelf.put(longer)
			if err := s.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if _, _, err := s.Set(t.Context(), newSilence(t, `team=shop`, time.Hour)); err != nil {
			t.Fatal(err)
		}
		if sil, _ := s.Get("id-1"); time.Until(sil.EndsAt) < 90*time.Minute {
			t.Errorf("ends in %v", time.Until(sil.EndsAt))
		}
	})
}

// TestSilencesTogether: many at once, all there in the end.
func TestSilencesTogether(t *testing.T) {
	shelf := &silenceShelf{all: map[string]oncall.Silence{}}
	s := notifier.NewSilences(notifier.SilencesOptions{Store: shelf, Registerer: prometheus.NewRegistry()})
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	sil := newSilence(t, `team=shop`, time.Hour)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 40 {
				if _, _, err := s.Set(t.Context(), sil); err != nil {
					t.Error(err)
				}
				muting(s)
			}
		})
		all.Go(func() {
			for range 10 {
				if err := s.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := len(strings.Fields(muting(s))); n != 320 {
		t.Errorf("%d of 320 mute", n)
	}
}
