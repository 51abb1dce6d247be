package notifier

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"tocsin/oncall"
)

// Silences is the way in for those who set and end silences, and holds all of them in memory for those who
// ask what is muted: the dispatcher and the alert API. Any goroutine may use it.
type Silences struct {
	o SilencesOptions

	mu  sync.Mutex // serializes what replaces now: Refresh and what was committed here
	now atomic.Pointer[silencesNow]

	changes *prometheus.CounterVec // by what was done
}

// silencesNow is what is known of the store.
type silencesNow struct {
	set    *oncall.SilenceSet
	local  int64 // grows with every change of set
	stored int64 // version of the store that set is at least as new as
	loaded bool
}

// SilencesOptions are what Silences needs. All but Changed, NewID and Registerer are required.
type SilencesOptions struct {
	Store      SilenceStore
	Mode       oncall.MatcherMode
	Changed    func()        // called after every change of what Current returns, and must not block: wakes the dispatcher
	NewID      func() string // default: random UUIDs
	Max        int           // how many silences may be kept, expired ones included, for another one to be made; 0 or less: any number
	Registerer prometheus.Registerer
}

// NewSilences returns silences of which nothing is known before Refresh.
func NewSilences(o SilencesOptions) *Silences {
	if o.NewID == nil {
		o.NewID = uuid.NewString
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	s := &Silences{o: o}
	s.now.Store(&silencesNow{set: oncall.NewSilenceSet(nil, time.Time{})})
	f := promauto.With(o.Registerer)
	for _, state := range []oncall.SilenceState{oncall.SilenceActive, oncall.SilencePending, oncall.SilenceExpired} {
		f.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tocsin_silences", Help: "Silences that are kept, by state.", ConstLabels: prometheus.Labels{"state": string(state)},
		}, func() float64 { return float64(s.now.Load().set.Count(state, time.Now())) })
	}
	s.changes = f.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_silence_changes_total", Help: "Silences that were changed through this process, by what was done.",
	}, []string{"change"})
	for _, change := range []string{"set", "expired"} {
		s.changes.WithLabelValues(change)
	}
	return s
}

// Current returns all silences, and a version of this process that grows when they change. Before the first
// Refresh the set is empty and the version is 0.
func (s *Silences) Current() (set *oncall.SilenceSet, version int64) {
	n := s.now.Load()
	return n.set, n.local
}

// Refresh reads the silences again if somebody changed one in the store since: another process, or the
// dispatcher. Whoever decides what is muted refreshes before the first decision.
func (s *Silences) Refresh(ctx context.Context) error {
	if n := s.now.Load(); n.loaded {
		version, err := s.o.Store.SilencesVersion(ctx)
		if err != nil || version == n.stored {
			return err
		}
	}
	s.mu.Lock()
	all, version, err := s.o.Store.Silences(ctx)
	if err == nil {
		s.replace(silencesNow{set: oncall.NewSilenceSet(all, time.Now()), stored: version, loaded: true})
	}
	s.mu.Unlock()
	if err == nil {
		s.o.Changed()
	}
	return err
}

// replace is called with mu held.
func (s *Silences) replace(n silencesNow) {
	n.local = s.now.Load().local + 1
	s.now.Store(&n)
}

// Set makes a silence, or changes the one with its ID, and returns the ID under which it stands from now on
// with what the caller should be warned of. After nil it is on disk and in Current. It is checked as the
// alert API does; oncall.RequireComment is up to the caller. Codes: invalid, not_found, conflict (there are Max already), unavailable.
func (s *Silences) Set(ctx context.Context, sil oncall.Silence) (id string, warnings []string, err error) {
	return s.SetOnce(ctx, sil, "")
}

// SetOnce is Set, once for each request ("": each time): oncall.ErrRequestSeen says that it was handled before.
func (s *Silences) SetOnce(ctx context.Context, sil oncall.Silence, request string) (id string, warnings []string, err error) {
	now := stored(time.Now())
	if err := oncall.CheckSilence(sil, s.o.Mode, now); err != nil {
		return "", nil, err
	}
	newID := s.o.NewID() // outside of the decision, which may run again
	changed, err := s.update(ctx, oncall.Write{Now: now, Request: request, Urgent: true}, sil.ID, func(prev oncall.Silence, found bool) ([]oncall.Silence, error) {
		made, err := oncall.SetSilence(prev, found, sil, newID, now)
		if err == nil && made[len(made)-1].ID == newID {
			err = s.room()
		}
		return made, err
	})
	if err != nil {
		return "", nil, err
	}
	s.changes.WithLabelValues("set").Inc()
	return changed[len(changed)-1].ID, oncall.SilenceWarnings(sil), nil
}

// room reports that there are too many silences for another one. Who asks at the same time may come in beside each other.
func (s *Silences) room() error {
	if s.o.Max <= 0 {
		return nil
	}
	if n := s.now.Load().set.Len(); n >= s.o.Max {
		return oncall.Errorf(oncall.CodeConflict, "there are %d silences already, and --silences.max-silences allows %d; those that expired count for %d days",
			n, s.o.Max, int(oncall.SilencesKept/(24*time.Hour)))
	}
	return nil
}

// Expire ends a silence now; ending one that has ended is no error. It returns the silence as it stands.
// Codes: not_found, unavailable.
func (s *Silences) Expire(ctx context.Context, id string) (oncall.Silence, error) {
	now := stored(time.Now())
	var was oncall.Silence
	changed, err := s.update(ctx, oncall.Write{Now: now, Urgent: true}, id, func(prev oncall.Silence, found bool) ([]oncall.Silence, error) {
		if !found {
			return nil, oncall.SilenceNotFound(id)
		}
		was = prev
		return oncall.ExpireSilence(prev, now), nil
	})
	if err != nil {
		return oncall.Silence{}, err
	}
	if len(changed) == 0 {
		return was, nil
	}
	s.changes.WithLabelValues("expired").Inc()
	return changed[len(changed)-1], nil
}

// stored is an instant as the database keeps it: in microseconds.
func stored(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// update commits a change, and takes it over into Current: without reading all silences again, so that an
// import of thousands does not read millions.
func (s *Silences) update(ctx context.Context, w oncall.Write, id string,
	decide func(oncall.Silence, bool) ([]oncall.Silence, error)) ([]oncall.Silence, error) {
	changed, err := s.o.Store.UpdateSilence(ctx, w, id, decide)
	if err != nil || len(changed) == 0 {
		return changed, err
	}
	s.Committed(changed)
	return changed, nil
}

// Committed takes silences over into Current that were just committed by somebody of this process: the dispatcher,
// when people were reminded.
func (s *Silences) Committed(changed []oncall.Silence) {
	if len(changed) == 0 {
		return
	}
	s.mu.Lock()
	n := *s.now.Load()
	// Two commits may arrive here in the other order: the newer one stays, and the next Refresh has the last word.
	newer := slices.DeleteFunc(slices.Clone(changed), func(c oncall.Silence) bool {
		known, ok := n.set.Get(c.ID)
		return ok && known.UpdatedAt.After(c.UpdatedAt)
	})
	n.set, n.stored = n.set.With(newer, time.Now()), unknownVersion
	s.replace(n)
	s.mu.Unlock()
	s.o.Changed()
}

// unknownVersion makes the next Refresh read.
const unknownVersion = -1

// Get returns a silence. Code: not_found.
func (s *Silences) Get(id string) (oncall.Silence, error) {
	set, _ := s.Current()
	if sil, ok := set.Get(id); ok {
		return sil, nil
	}
	return oncall.Silence{}, oncall.SilenceNotFound(id)
}

// List returns all silences in the order of the alert API; see oncall.SilenceSet.List.
func (s *Silences) List(now time.Time) []oncall.Silence {
	set, _ := s.Current()
	return set.List(now)
}
