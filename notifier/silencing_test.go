package notifier_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// silencer is a stub of Silences that remembers, and can fail before or after.
type silencer struct {
	mu   sync.Mutex
	set  []oncall.Silence
	fail error
}

func (s *silencer) Set(_ context.Context, sil oncall.Silence) (string, []string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return "", nil, s.fail
	}
	s.set = append(s.set, sil)
	return "00000000-0000-4000-8000-000000000001", nil, nil
}

func (r *rig) silencing(s notifier.Silencer) *notifier.Acts {
	return notifier.NewActs(notifier.ActOptions{Store: r.store, Policy: func() oncall.Policy { return r.policy }, Silences: s})
}

func (r *rig) entries(number int64, kind oncall.TimelineKind) []string {
	var texts []string
	for _, e := range r.incident(number).Timeline {
		if e.Kind == kind {
			texts = append(texts, strings.TrimPrefix(e.Actor+": "+e.Text, ": "))
		}
	}
	return texts
}

func TestSilenceFromAnIncident(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		s := &silencer{}
		acts := r.silencing(s)
		r.fire("session")
		r.pass(2 * time.Second)
		wish := oncall.SilenceWish{For: time.Hour, Comment: "deploy", Actor: "ana", Via: "slack"}
		var wg sync.WaitGroup
		for range 4 { // the same request, several times at once
			wg.Go(func() {
				if _, err := acts.Silence(t.Context(), 1, wish, "request 1"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		r.pass(2 * time.Second)
		if len(s.set) != 1 || s.set[0].Matchers.String() != `{service="session"}` || s.set[0].Incident != 1 || s.set[0].CreatedBy != "ana" {
			t.Fatalf("set %+v", s.set)
		}
		if got := r.entries(1, oncall.EntrySilenced); len(got) != 1 || !strings.HasPrefix(got[0], "ana: silenced until 2000-01-01 01:00 UTC (slack): deploy") {
			t.Errorf("the timeline says %q", got)
		}
		last := r.slack.all()[len(r.slack.all())-1]
		if last.delivery.Kind != oncall.KindReply || !strings.Contains(string(last.delivery.Body), "Silenced by ana until 2000-01-01 01:00 UTC: deploy") {
			t.Errorf("Slack shows last %s %s", last.delivery.Kind, last.delivery.Body)
		}
		done, err := acts.Silence(t.Context(), 1, wish, "")
		if err != nil || done.Silence.ID == "" || !strings.Contains(done.Reply, "#1 is silenced until") {
			t.Errorf("%+v, %v", done, err)
		}
		if _, err := acts.Silence(t.Context(), 7, wish, "request 2"); oncall.ErrorCode(err) != oncall.CodeNotFound {
			t.Errorf("an incident that does not exist: %v", err)
		}
		if _, err := acts.Silence(t.Context(), 1, oncall.SilenceWish{For: time.Hour, Actor: "ana"}, "request 3"); oncall.ErrorCode(err) != oncall.CodeInvalid {
			t.Errorf("no comment: %v", err)
		}
		// What failed may be asked for again, under the same identity.
		s.fail = oncall.Errorf(oncall.CodeUnavailable, "the disk is full")
		if _, err := acts.Silence(t.Context(), 1, wish, "request 4"); oncall.ErrorCode(err) != oncall.CodeUnavailable {
			t.Errorf("a store that fails: %v", err)
		}
		s.fail = nil
		if done, err := acts.Silence(t.Context(), 1, wish, "request 4"); err != nil || done.Reply == notifier.AlreadyDone {
			t.Errorf("%+v, %v", done, err)
		}
		if _, err := r.acts.Silence(t.Context(), 1, wish, ""); oncall.ErrorCode(err) != oncall.CodeUnavailable {
			t.Errorf("without silences: %v", err)
		}
	})
}

func TestReminderIsToldOnce(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("session")
		r.pass(2 * time.Second)
		reminder := oncall.SilenceReminder{Text: "The silence ends in 15m", Silence: oncall.Silence{ID: "s1", Incident: 1, EndsAt: time.Now().Add(15 * time.Minute)}}
		elsewhere := reminder
		elsewhere.Silence.Incident, elsewhere.Silence.ID = 99, "s2"
		nowhere := reminder
		nowhere.Silence.Incident = 0
		r.acts.Remind(t.Context(), []oncall.SilenceReminder{reminder, reminder, elsewhere, nowhere})
		r.pass(2 * time.Second)
		synctest.Wait()
		if got := r.entries(1, oncall.EntrySilenceEnding); len(got) != 1 || got[0] != reminder.Text {
			t.Errorf("the timeline says %q", got)
		}
		replies := 0
		for _, m := range r.slack.all() {
			if m.delivery.Kind == oncall.KindReply && strings.Contains(string(m.delivery.Body), reminder.Text) {
				replies++
			}
		}
		if replies != 1 {
			t.Errorf("told %d times in the thread", replies)
		}
		later := reminder // the silence was made longer
		later.Silence.EndsAt = later.Silence.EndsAt.Add(time.Hour)
		r.acts.Remind(t.Context(), []oncall.SilenceReminder{later})
		if got := r.entries(1, oncall.EntrySilenceEnding); len(got) != 2 {
			t.Errorf("the timeline says %q", got)
		}
	})
}
