package notifier

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tocsin/oncall"
)

// Silencer sets silences; Silences is one.
type Silencer interface {
	// Set makes a silence and returns its ID, and what the caller should be warned of.
	Set(ctx context.Context, s oncall.Silence) (id string, warnings []string, err error)
}

// Silenced is what came of a wish for a silence.
type Silenced struct {
	Silence  oncall.Silence  // as it stands; zero for a request that was handled before
	Warnings []string        // sentences
	Incident oncall.Incident // as it was when the silence was made
	Reply    string          // a sentence for who asked; AlreadyDone for a request that was handled before
}

// Silence silences the alerts of an incident, and puts that on its timeline and into its threads. It acts once per
// request ("" for requests without an identity). That the incident pauses follows later, when the alerts are found
// muted. Codes: invalid, not_found, unavailable.
func (a *Acts) Silence(ctx context.Context, number int64, w oncall.SilenceWish, request string) (Silenced, error) {
	if a.o.Silences == nil {
		return Silenced{}, oncall.Errorf(oncall.CodeUnavailable, "silences cannot be set here")
	}
	// One at a time: a request that arrives twice at once must find that it was handled. Few people silence at once.
	select {
	case a.silencing <- struct{}{}:
		defer func() { <-a.silencing }()
	case <-ctx.Done():
		return Silenced{}, oncall.Errorf(oncall.CodeUnavailable, "another silence is still being set: %w", ctx.Err())
	}
	now := stored(time.Now())
	sil, in, err := a.plan(ctx, number, w, request, now)
	if errors.Is(err, oncall.ErrRequestSeen) {
		in, err = a.Incident(ctx, number)
		return Silenced{Incident: in, Reply: AlreadyDone}, err
	}
	if err != nil {
		return Silenced{}, err
	}
	done := Silenced{Silence: sil, Incident: in}
	done.Silence.ID, done.Warnings, err = a.o.Silences.Set(ctx, sil)
	if err != nil {
		return Silenced{}, err
	}
	a.log.InfoContext(ctx, "acted", "incident", number, "act", "silence", "actor", w.Actor, "via", w.Via, "silence", done.Silence.ID, "until", sil.EndsAt)
	until := sil.EndsAt.UTC().Format("2006-01-02 15:04 MST")
	done.Reply = fmt.Sprintf("#%d is silenced until %s: all alerts with %s", number, until, sil.Matchers)
	if err := a.Note(ctx, number, oncall.SilencedNote(sil, w.Via), request); err != nil && !errors.Is(err, oncall.ErrRequestSeen) {
		// The silence stands, and what is muted says by whom and why. Doing it again would make a second one.
		a.log.ErrorContext(ctx, "a silence was set but could not be put on the incident's timeline", "incident", number, "silence", done.Silence.ID, "err", err)
		done.Warnings = append(done.Warnings, "its timeline could not be written and does not show it")
	}
	if len(done.Warnings) > 0 {
		done.Reply += ". Mind: " + strings.Join(done.Warnings, "; ")
	}
	return done, nil
}

// errPlanned ends a transaction in which nothing was to be written.
var errPlanned = oncall.Errorf(oncall.CodeConflict, "only looked at")

// plan makes the silence of the incident as it stands. A request that was handled before is oncall.ErrRequestSeen.
func (a *Acts) plan(ctx context.Context, number int64, w oncall.SilenceWish, request string, now time.Time) (sil oncall.Silence, in oncall.Incident, err error) {
	if request == "" {
		if in, err = a.Incident(ctx, number); err == nil {
			sil, err = oncall.SilenceOf(in, w, now)
		}
		return sil, in, err
	}
	found := make(chan oncall.Incident, 1) // the closure may run again, and after this call has been given up
	_, err = a.o.Store.UpdateIncident(ctx, oncall.Write{Now: now, Request: request, Urgent: true}, number,
		func(in oncall.Incident) (oncall.Decision, error) {
			select {
			case found <- in:
			default:
			}
			return oncall.Decision{}, errPlanned
		})
	switch {
	case errors.Is(err, errPlanned):
		in = <-found
		sil, err = oncall.SilenceOf(in, w, now)
		return sil, in, err
	case oncall.ErrorCode(err) == oncall.CodeNotFound:
		return sil, in, notFound(number)
	case err == nil:
		return sil, in, oncall.Errorf(oncall.CodeInternal, "the store took a decision that was none")
	}
	return sil, in, err
}

// Note puts on the record of an incident what was done elsewhere, once per request ("": each time).
// oncall.ErrRequestSeen: it was noted before.
func (a *Acts) Note(ctx context.Context, number int64, n oncall.Noted, request string) error {
	now := time.Now()
	_, err := a.o.Store.UpdateIncident(ctx, oncall.Write{Now: now, Request: request}, number,
		func(in oncall.Incident) (oncall.Decision, error) { return decide(now, in, n, a.o.Policy()) })
	if oncall.ErrorCode(err) == oncall.CodeNotFound {
		return notFound(number)
	}
	return err
}

// Remind tells the people of the incidents from which silences were made that these end soon while alerts fire under
// them: on the timeline and in the threads of its messages. A silence that was made from no incident, or from one that
// is gone, has nobody to be told, and is logged. It goes on trying until ctx or the silence ends; being called again for
// the same end of the same silence changes nothing.
func (a *Acts) Remind(ctx context.Context, reminders []oncall.SilenceReminder) {
	for _, r := range reminders {
		a.remind(ctx, r)
	}
}

func (a *Acts) remind(ctx context.Context, r oncall.SilenceReminder) {
	s := r.Silence
	a.log.InfoContext(ctx, r.Text, "silence", s.ID, "ends", s.EndsAt, "alerts", r.Firing, "incident", s.Incident)
	if s.Incident == 0 {
		return
	}
	n := oncall.Noted{Kind: oncall.EntrySilenceEnding, Text: r.Text, Reply: r.Text}
	var b backoff
	for {
		err := a.Note(ctx, s.Incident, n, fmt.Sprintf("silence reminder %s %d", s.ID, s.EndsAt.UnixMicro()))
		if err == nil || errors.Is(err, oncall.ErrRequestSeen) || oncall.ErrorCode(err) == oncall.CodeNotFound {
			return
		}
		a.log.ErrorContext(ctx, "people could not be reminded that a silence ends", "incident", s.Incident, "silence", s.ID, "err", err)
		if !time.Now().Before(s.EndsAt) || !sleep(ctx, b.next(), nil) {
			return
		}
	}
}
