package notifier

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"tocsin/oncall"
)

// OverrideStore keeps overrides.
type OverrideStore interface {
	// Overrides returns all overrides that are kept, and a version that grows with every change of one.
	Overrides(ctx context.Context) (all []oncall.Override, version int64, err error)
	// OverridesVersion returns that version alone: the cheap question whether to read them again.
	OverridesVersion(ctx context.Context) (int64, error)
	// AddOverrides adds overrides, all or none. Codes: conflict for an ID that is taken; ErrRequestSeen.
	AddOverrides(ctx context.Context, w oncall.Write, added []oncall.Override) error
	// EndOverride loads the override, calls end, and commits what it returns. end is pure and may run again.
	// Codes: not_found, and those of end; ErrRequestSeen.
	EndOverride(ctx context.Context, w oncall.Write, id string, end func(oncall.Override) (oncall.Override, error)) (oncall.Override, error)
}

// OverridesOptions are what Overrides needs. Store and Policy are required.
type OverridesOptions struct {
	Store      OverrideStore
	Policy     func() oncall.Policy // the policy in force, with its overrides
	Changed    func()               // called after every change of what Current returns, before who asked is answered
	Logger     *slog.Logger         // nil: silent
	Registerer prometheus.Registerer
}

// Overrides is the way in for people who change who is on call for a while, and holds all overrides in memory for
// the policy. Any goroutine may use it. Its errors are oncall's, with a code.
type Overrides struct {
	o   OverridesOptions
	log *slog.Logger

	mu  sync.Mutex // serializes Refresh
	now atomic.Pointer[overridesNow]

	changes *prometheus.CounterVec // by what was done
}

// overridesNow is what is known of the store. It never changes.
type overridesNow struct {
	all     []oncall.Override
	version int64
}

// NewOverrides returns overrides of which nothing is known before Refresh.
func NewOverrides(o OverridesOptions) *Overrides {
	if o.Changed == nil {
		o.Changed = func() {}
	}
	v := &Overrides{o: o, log: logger(o.Logger)}
	v.now.Store(&overridesNow{version: -1})
	f := promauto.With(o.Registerer)
	v.changes = f.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_override_changes_total", Help: "Overrides of schedules that were changed through this process, by what was done.",
	}, []string{"change"})
	for _, change := range []string{"added", "ended"} {
		v.changes.WithLabelValues(change)
	}
	return v
}

// Current returns all overrides as they were last read. The caller must not change them.
func (v *Overrides) Current() []oncall.Override { return v.now.Load().all }

// Refresh reads the overrides again if somebody changed one in the store since, through whatever process.
func (v *Overrides) Refresh(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	version, err := v.o.Store.OverridesVersion(ctx)
	if err != nil || version == v.now.Load().version {
		return err
	}
	all, version, err := v.o.Store.Overrides(ctx)
	if err != nil {
		return err
	}
	v.now.Store(&overridesNow{all, version})
	v.o.Changed()
	return nil
}

// Overridden is what came of a wish.
type Overridden struct {
	Overrides []oncall.Override
	Reply     string // a sentence for who asked
	Mind      string // what they should know besides: when nobody will be on call; "" for nothing
}

// Add makes the override that somebody wishes, once per request ("": a request without an identity). After nil it is
// on disk and in the policy of this process. Codes: invalid, not_found, conflict where nothing would change,
// unavailable: then the caller may send the same request again.
func (v *Overrides) Add(ctx context.Context, w oncall.OverrideWish, request string) (Overridden, error) {
	return v.add(ctx, w.Schedule, request, func(p oncall.Policy, now time.Time) ([]oncall.Override, error) {
		o, err := p.PlanOverride(w, now)
		return []oncall.Override{o}, err
	})
}

// Swap has two users take each other's shifts, once per request; see Add.
func (v *Overrides) Swap(ctx context.Context, w oncall.SwapWish, request string) (Overridden, error) {
	return v.add(ctx, w.Schedule, request, func(p oncall.Policy, now time.Time) ([]oncall.Override, error) {
		return p.PlanSwap(w, now)
	})
}

func (v *Overrides) add(ctx context.Context, schedule, request string, plan func(oncall.Policy, time.Time) ([]oncall.Override, error)) (Overridden, error) {
	if done := v.madeBy(request); len(done) > 0 { // before the plan: by now the wish would change nothing
		return v.done(schedule, done), nil
	}
	now := stored(time.Now())
	p := v.o.Policy()
	made, err := plan(p, now)
	if err != nil {
		return Overridden{}, err
	}
	identity := request
	if identity == "" {
		identity = rand.Text()
	}
	for i := range made {
		made[i].ID = overrideID(identity, i)
		made[i].From, made[i].To = stored(made[i].From), stored(made[i].To)
	}
	err = v.o.Store.AddOverrides(ctx, oncall.Write{Now: now, Request: request, Urgent: true}, made)
	switch {
	case errors.Is(err, oncall.ErrRequestSeen):
		if err := v.Refresh(ctx); err != nil {
			return Overridden{}, err
		}
		return v.done(schedule, v.madeBy(request)), nil
	case err != nil:
		v.log.ErrorContext(ctx, "an override could not be committed", "schedule", schedule, "err", err)
		return Overridden{}, err
	}
	v.changes.WithLabelValues("added").Add(float64(len(made)))
	v.changed(ctx)
	for _, o := range made {
		v.log.InfoContext(ctx, "an override was made", "id", o.ID, "schedule", o.Schedule, "override", o.String(), "from", o.From, "to", o.To)
	}
	s := p.Schedules[schedule]
	return Overridden{Overrides: made, Reply: said(&s, made), Mind: mind(&s, p.Overrides, made)}, nil
}

// changed takes over what was just committed. A failure is no failure of the commit: whoever follows the version
// tries again within a second.
func (v *Overrides) changed(ctx context.Context) {
	if err := v.Refresh(ctx); err != nil {
		v.log.WarnContext(ctx, "an override is committed, but takes effect only when the store can be read again", "err", err)
	}
}

// madeBy returns the overrides that a request made.
func (v *Overrides) madeBy(request string) (made []oncall.Override) {
	if request == "" {
		return nil
	}
	ids := map[string]bool{overrideID(request, 0): true, overrideID(request, 1): true}
	for _, o := range v.Current() {
		if ids[o.ID] {
			made = append(made, o)
		}
	}
	return made
}

func (v *Overrides) done(schedule string, made []oncall.Override) Overridden {
	return Overridden{Overrides: made, Reply: AlreadyDone + ": " + said(&oncall.Schedule{Name: schedule, TimeZone: v.o.Policy().Schedules[schedule].TimeZone}, made)}
}

// said joins what overrides do into one answer.
func said(s *oncall.Schedule, made []oncall.Override) string {
	parts := make([]string, 0, len(made))
	for _, o := range made {
		parts = append(parts, s.Said(o)+" ("+o.ID+")")
	}
	return strings.Join(parts, "; ")
}

// mind says where overrides leave nobody on call who was there before.
func mind(s *oncall.Schedule, before, made []oncall.Override) string {
	after := append(before[:len(before):len(before)], made...)
	for _, o := range made {
		gaps := s.Gaps(after, o.From, o.To)
		if len(gaps) > 0 && len(s.Gaps(before, gaps[0].From, gaps[0].To)) == 0 {
			return fmt.Sprintf("nobody is on call then from %s until %s", clockOf(s, gaps[0].From), clockOf(s, gaps[0].To))
		}
	}
	return ""
}

func clockOf(s *oncall.Schedule, t time.Time) string {
	loc := s.TimeZone
	if loc == nil {
		loc = time.UTC
	}
	return t.In(loc).Format("Mon 2 Jan 15:04 MST")
}

// overrideID derives an ID that people can type from a request's identity.
func overrideID(identity string, i int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "override %d|%s", i, identity))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:10])
}

// End ends an override now, or cancels one that has not begun, once per request. Codes: not_found, conflict where it
// is over, unavailable.
func (v *Overrides) End(ctx context.Context, id, actor, request string) (Overridden, error) {
	now := stored(time.Now())
	o, err := v.o.Store.EndOverride(ctx, oncall.Write{Now: now, Request: request, Urgent: true}, id, func(o oncall.Override) (oncall.Override, error) {
		return o.End(actor, now)
	})
	if errors.Is(err, oncall.ErrRequestSeen) {
		return Overridden{Reply: AlreadyDone}, nil
	}
	if err != nil {
		return Overridden{}, err
	}
	v.changes.WithLabelValues("ended").Inc()
	v.changed(ctx)
	v.log.InfoContext(ctx, "an override was ended", "id", o.ID, "schedule", o.Schedule, "override", o.String(), "by", actor)
	reply := fmt.Sprintf("the override %s (%s) has ended", o.ID, o)
	if o.From.Equal(o.To) {
		reply = fmt.Sprintf("the override %s (%s) is cancelled", o.ID, o)
	}
	return Overridden{Overrides: []oncall.Override{o}, Reply: reply}, nil
}
