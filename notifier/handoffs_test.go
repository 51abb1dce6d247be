package notifier_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
	"tocsin/store"
)

// rota is a policy with a schedule that is announced: ana's and bo's in turns of a day from the year 2000 on, which is
// when a bubble's time begins.
func rota() oncall.Policy {
	p := testPolicy()
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	reachable := []oncall.Contact{{Slack: "dm"}}
	p.Users = map[string]oncall.User{"ana": {Name: "ana", Contacts: reachable}, "bo": {Name: "bo", Contacts: reachable}, "cy": {Name: "cy", Contacts: reachable}}
	p.Schedules = map[string]oncall.Schedule{"primary": {Name: "primary", NotifySlack: "#team", Layers: []oncall.Layer{{Name: "daily", Rosters: []oncall.Roster{{
		From: start, Users: [][]string{{"ana"}, {"bo"}}, Rotation: oncall.Rotation{Every: 24 * time.Hour, Anchor: start}}}}}}}
	return p
}

// board is where handoffs are announced.
type board struct {
	mu     sync.Mutex
	posted []string
	fail   int             // so many attempts from now on
	refuse map[string]bool // whom Slack takes no notice to
}

func (b *board) SendHandoff(_ context.Context, channel string, h oncall.Handoff, open []oncall.Incident) oncall.Attempt {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := time.Now().UTC()
	b.posted = append(b.posted, fmt.Sprintf("%s %s: %v instead of %v (%s), %d open, attempt %d", at.Format("2T15:04:05"), channel, h.On, h.Off, h.Why, len(open), h.Attempts+1))
	for _, c := range h.Failed {
		b.posted = append(b.posted, fmt.Sprintf("%s %s %s", c.User, c.Contact, c.Failure))
	}
	if b.fail > 0 {
		b.fail--
		return oncall.Attempt{At: at, Outcome: oncall.OutcomeRetry, Status: 503, Error: "503"}
	}
	return oncall.Attempt{At: at, Outcome: oncall.OutcomeDelivered, Status: 200}
}

func (b *board) SendShift(_ context.Context, to string, n notifier.ShiftMessage) oncall.Attempt {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := time.Now().UTC()
	b.posted = append(b.posted, fmt.Sprintf("%s to %s: %s %s of %s from %s, with %v, %d failed, %d open, channel %v, attempt %d", at.Format("2T15:04:05"), to, n.User, n.Kind,
		n.Schedule, n.From.UTC().Format("2T15:04"), n.With, len(n.Failed), len(n.Open), n.Channel, n.Attempts+1))
	switch {
	case b.fail > 0:
		b.fail--
		return oncall.Attempt{At: at, Outcome: oncall.OutcomeRetry, Status: 503, Error: "503"}
	case b.refuse[to]:
		return oncall.Attempt{At: at, Outcome: oncall.OutcomeRefused, Status: 200, Error: "channel_not_found"}
	}
	return oncall.Attempt{At: at, Outcome: oncall.OutcomeDelivered, Status: 200}
}

// page is the way to tell people by something else than Slack.
func (b *board) page(_ context.Context, d oncall.Delivery, in oncall.Incident) oncall.Attempt {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.posted = append(b.posted, fmt.Sprintf("%s page to %s: %s", time.Now().UTC().Format("2T15:04:05"), d.Endpoint, in.Title))
	return oncall.Attempt{At: time.Now(), Outcome: oncall.OutcomeAccepted, Status: 200}
}

func (b *board) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	posted := strings.Join(b.posted, "\n")
	b.posted = nil
	return posted
}

// stage is a store with overrides and the handoff loop, in a bubble.
type stage struct {
	t         *testing.T
	store     *store.Store
	board     *board
	overrides *notifier.Overrides
	handoffs  *notifier.Handoffs
	refusing  *refusing

	mu     sync.Mutex
	policy oncall.Policy
	lease  oncall.Lease
}

// refusing is a store that can refuse to write down handoffs.
type refusing struct {
	notifier.HandoffStore
	mu     sync.Mutex
	refuse bool
}

func (f *refusing) CommitHandoffs(ctx context.Context, w oncall.Write, all []oncall.Handoff) error {
	f.mu.Lock()
	refuse := f.refuse
	f.mu.Unlock()
	if refuse {
		return errors.New("disk full")
	}
	return f.HandoffStore.CommitHandoffs(ctx, w, all)
}

func onStage(t *testing.T, play func(*testing.T, *stage)) {
	synctest.Test(t, func(t *testing.T) {
		st, err := store.OpenSQLite(t.Context(), t.TempDir(), store.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		s := &stage{t: t, store: st, board: &board{}, policy: rota(), refusing: &refusing{HandoffStore: st}}
		s.overrides = notifier.NewOverrides(notifier.OverridesOptions{Store: st, Policy: s.current, Changed: s.apply})
		s.handoffs = notifier.NewHandoffs(notifier.HandoffOptions{Store: s.refusing, Page: s.board.page})
		if err := s.overrides.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.apply()
		play(t, s)
	})
}

func (s *stage) current() oncall.Policy {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policy
}

func (s *stage) apply() {
	s.mu.Lock()
	s.policy.Overrides = s.overrides.Current()
	p := s.policy
	s.mu.Unlock()
	if s.handoffs != nil {
		s.handoffs.Apply(p, s.board)
	}
}

// run runs the loop for a while.
func (s *stage) run(d time.Duration) {
	s.t.Helper()
	lease, _, err := s.store.Acquire(s.t.Context(), "0", "me", time.Now(), 1000*time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	s.lease = lease
	ctx, cancel := context.WithTimeout(s.t.Context(), d)
	defer cancel()
	if err := s.handoffs.Run(ctx, lease); err != nil {
		s.t.Error(err)
	}
}

func (s *stage) want(posted ...string) {
	s.t.Helper()
	if got := s.board.take(); got != strings.Join(posted, "\n") {
		s.t.Errorf("announced\n%s\nwant\n%s", got, strings.Join(posted, "\n"))
	}
}

func TestHandoffsAreAnnouncedOnce(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.run(time.Hour)
		s.want() // what is so at first is nothing new
		s.run(48 * time.Hour)
		s.want("2T00:00:00 #team: [bo] instead of [ana] (layer daily), 0 open, attempt 1",
			"3T00:00:00 #team: [ana] instead of [bo] (layer daily), 0 open, attempt 1")
		// Of what happens while nobody is there, how it ends is announced; not at all where it ends as it was.
		<-time.After(48 * time.Hour) // in the bubble's time
		s.run(time.Minute)
		s.want()
		<-time.After(24 * time.Hour)
		s.run(time.Minute)
		s.want("6T01:01:00 #team: [bo] instead of [ana] (layer daily), 0 open, attempt 1")
	})
}

// broken is a store in which some contacts failed in their last drills.
type broken struct{ notifier.HandoffStore }

func (b broken) ContactChecks(context.Context) (all []oncall.ContactCheck, err error) {
	for _, user := range []string{"ana", "bo", "gone"} {
		all = append(all, oncall.ContactCheck{User: user, Contact: "Slack direct message", Endpoint: oncall.SlackEndpoint("U-" + user), Result: oncall.CheckFailed, Failure: "refused"})
	}
	return all, nil
}

// TestHandoffsWarnOfContacts: whoever comes on call with a contact that failed in its last drill is named before the shift.
func TestHandoffsWarnOfContacts(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.refusing.HandoffStore = broken{s.store}
		for name, u := range s.policy.Users {
			u.Slack = "U-" + name
			s.policy.Users[name] = u
		}
		s.apply()
		s.run(25 * time.Hour)
		s.want("2T00:00:00 #team: [bo] instead of [ana] (layer daily), 0 open, attempt 1", "bo Slack direct message refused")
	})
}

func TestHandoffsByOverrides(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.run(time.Hour)
		done, err := s.overrides.Add(t.Context(), oncall.OverrideWish{Schedule: "primary", User: "cy", For: 2 * time.Hour, Actor: "dee", Reason: "dentist"}, "r")
		if err != nil {
			t.Fatal(err)
		}
		s.run(time.Hour)
		s.want("1T01:00:00 #team: [cy] instead of [ana] (layer daily; cy instead of whoever is on call (by dee: dentist)), 0 open, attempt 1")
		if _, err := s.overrides.End(t.Context(), done.Overrides[0].ID, "bo", ""); err != nil {
			t.Fatal(err)
		}
		s.run(3 * time.Hour)
		s.want("1T02:00:00 #team: [ana] instead of [cy] (layer daily), 0 open, attempt 1")
	})
}

func TestHandoffsAreTriedAgain(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.run(time.Hour)
		s.board.fail = 2
		s.run(23*time.Hour + time.Minute)
		s.want("2T00:00:00 #team: [bo] instead of [ana] (layer daily), 0 open, attempt 1",
			"2T00:00:01 #team: [bo] instead of [ana] (layer daily), 0 open, attempt 2",
			"2T00:00:03 #team: [bo] instead of [ana] (layer daily), 0 open, attempt 3")
		// For a day at most, and never beyond the next handoff.
		s.board.fail = 1 << 30
		s.run(48 * time.Hour)
		for line := range strings.Lines(s.board.take()) {
			day := line[:1]
			if strings.Contains(line, "[ana] instead of [bo]") != (day == "3") {
				t.Fatal(line)
			}
		}
	})
}

// TestHandoffsOfAStoreThatIsFull: what cannot be written down is not announced over and over.
func TestHandoffsOfAStoreThatIsFull(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.run(time.Hour)
		s.refusing.refuse = true
		s.run(24 * time.Hour)
		s.want()
		s.refusing.refuse = false
		s.run(time.Hour)
		s.want("2T01:00:00 #team: [bo] instead of [ana] (layer daily), 0 open, attempt 1")
	})
}

func TestOverrides(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		ctx := t.Context()
		wish := oncall.OverrideWish{Schedule: "primary", User: "bo", For: 2 * time.Hour, Actor: "dee"}
		first, err := s.overrides.Add(ctx, wish, "request")
		if err != nil || len(first.Overrides) != 1 || !strings.HasPrefix(first.Reply, "primary: bo is on call instead of whoever would be") {
			t.Fatalf("%+v, %v", first, err)
		}
		if users, _ := s.current().OnCall("primary", time.Now()); len(users) != 1 || users[0] != "bo" {
			t.Errorf("%v are on call", users)
		}
		again, err := s.overrides.Add(ctx, wish, "request")
		if err != nil || len(again.Overrides) != 1 || again.Overrides[0].ID != first.Overrides[0].ID || !strings.HasPrefix(again.Reply, notifier.AlreadyDone) {
			t.Errorf("%+v, %v", again, err)
		}
		if _, err := s.overrides.Add(ctx, wish, "another"); oncall.ErrorCode(err) != oncall.CodeConflict {
			t.Errorf("what changes nothing: %v", err)
		}
		<-time.After(time.Minute)
		gone, err := s.overrides.Add(ctx, oncall.OverrideWish{Schedule: "primary", Kind: oncall.OverrideRemove, User: "bo", For: time.Hour}, "")
		if err != nil || gone.Mind != "nobody is on call then from Sat 1 Jan 00:01 UTC until Sat 1 Jan 01:01 UTC" {
			t.Errorf("%+v, %v", gone, err)
		}
		// Another replica has the same overrides after a look, and the request's identity holds there too.
		other := notifier.NewOverrides(notifier.OverridesOptions{Store: s.store, Policy: s.current})
		if there, err := other.Add(ctx, oncall.OverrideWish{Schedule: "primary", User: "cy", For: time.Hour}, "request"); err != nil || len(there.Overrides) != 1 || len(other.Current()) != 2 {
			t.Errorf("%+v, %v", there, err)
		}
		swap, err := other.Swap(ctx, oncall.SwapWish{Schedule: "primary", Mine: oncall.Turn{User: "bo", At: time.Now().AddDate(0, 0, 1), Day: true},
			Theirs: oncall.Turn{User: "ana", At: time.Now().AddDate(0, 0, 2), Day: true}, Actor: "ana"}, "swap")
		if err != nil || len(swap.Overrides) != 2 || swap.Overrides[0].ID == swap.Overrides[1].ID {
			t.Fatalf("%+v, %v", swap, err)
		}
		if err := s.overrides.Refresh(ctx); err != nil || len(s.current().Overrides) != 4 {
			t.Errorf("%v, %v", s.current().Overrides, err)
		}
		ended, err := s.overrides.End(ctx, swap.Overrides[1].ID, "bo", "end")
		if err != nil || !strings.HasSuffix(ended.Reply, "is cancelled") {
			t.Errorf("%+v, %v", ended, err)
		}
		if repeat, err := s.overrides.End(ctx, swap.Overrides[1].ID, "bo", "end"); err != nil || repeat.Reply != notifier.AlreadyDone {
			t.Errorf("%+v, %v", repeat, err)
		}
		if _, err := s.overrides.End(ctx, "nothing", "bo", ""); oncall.ErrorCode(err) != oncall.CodeNotFound {
			t.Error(err)
		}
	})
}
