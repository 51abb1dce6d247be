package slack

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"sync"
	"time"

	goslack "github.com/slack-go/slack"
)

// What Slack says of the people in the workspace, kept for a while so that a press does not wait for it.

const (
	memberWait  = 600 * time.Millisecond // how long requests wait for one answer of Slack's: a press may need three
	memberFresh = 10 * time.Minute       // somebody who leaves, or loses their address, can act for so long at most
	memberNone  = time.Minute            // for one who does not exist
	memberRetry = 3 * time.Second        // after a failure
	maxMembers  = 2000
	homeRetry   = 30 * time.Second
)

// member is what Slack says of somebody.
type member struct {
	id, gridID       string // their ID in the workspace, and in its enterprise
	team, enterprise string
	email            string
	confirmed        bool // Slack has verified the address
	bot, deleted     bool
	stranger         bool // of another company, met in a shared channel
	loc              *time.Location
}

// verified reports whether the address may stand for the person.
func (m member) verified(home workplace) bool {
	return m.email != "" && m.confirmed && !m.bot && !m.deleted && !m.stranger && home.team != "" &&
		(m.team == home.team || home.enterprise != "" && m.enterprise == home.enterprise)
}

func memberOf(u *goslack.User) member {
	m := member{
		id: u.ID, gridID: u.Enterprise.ID, team: u.TeamID, enterprise: u.Enterprise.EnterpriseID,
		email: u.Profile.Email, confirmed: u.IsEmailConfirmed, deleted: u.Deleted, stranger: u.IsStranger,
		bot: u.IsBot || u.IsAppUser || u.IsConnectorBot || u.IsWorkflowBot || u.ID == "USLACKBOT",
	}
	if u.TZ != "" && u.TZ != "Local" {
		if loc, err := time.LoadLocation(u.TZ); err == nil {
			m.loc = loc
		}
	}
	return m
}

// members is a bounded memory. Its zero value is empty.
type members struct {
	mu     sync.Mutex
	byID   map[string]*lookup
	order  []string // of byID, oldest first
	office *lookup  // the workspace itself
}

// lookup is one question to Slack. What follows done is written before done is closed, and never after.
type lookup struct {
	done  chan struct{}
	asked time.Time
	until time.Time // when it is asked again
	ok    bool      // Slack has answered
	m     member
	home  workplace
}

func (l *lookup) stale(now time.Time) bool {
	select {
	case <-l.done:
		return !now.Before(l.until)
	default:
		return false // under way
	}
}

// remember keeps a question that is about to be asked. It needs mu.
func (s *members) remember(id string, l *lookup) {
	if s.byID == nil {
		s.byID = map[string]*lookup{}
	}
	if _, again := s.byID[id]; !again {
		s.order = append(s.order, id)
	}
	s.byID[id] = l
	if len(s.order) > maxMembers {
		delete(s.byID, s.order[0])
		s.order = s.order[1:]
	}
}

// member returns what Slack says of somebody; one whom Slack does not know is empty. ok is false where that could not be
// learnt in time: the question goes on beside the request, so that the next one finds the answer.
func (a *Adapter) member(ctx context.Context, id string) (m member, ok bool) {
	s := &a.members
	s.mu.Lock()
	l := s.byID[id]
	if l == nil || l.stale(time.Now()) {
		l = &lookup{done: make(chan struct{}), asked: time.Now()}
		if a.beside(func(ctx context.Context) { a.askMember(ctx, id, l) }) {
			s.remember(id, l)
		} else {
			close(l.done)
		}
	}
	s.mu.Unlock()
	if !l.wait(ctx) || !l.ok {
		return member{}, false
	}
	return l.m, true
}

// home returns the workspace that the bot token belongs to, ok false where that is not known.
func (a *Adapter) home(ctx context.Context) (w workplace, ok bool) {
	s := &a.members
	s.mu.Lock()
	l := s.office
	if l == nil || l.stale(time.Now()) {
		l = &lookup{done: make(chan struct{}), asked: time.Now()}
		if a.beside(func(ctx context.Context) { a.askHome(ctx, l) }) {
			s.office = l
		} else {
			close(l.done)
		}
	}
	s.mu.Unlock()
	if !l.wait(ctx) || !l.ok {
		return workplace{}, false
	}
	return l.home, true
}

// wait waits for the answer, and reports whether it is there. A question that was asked a while ago is waited for no
// more: while Slack hangs, one request pays for that.
func (l *lookup) wait(ctx context.Context) bool {
	select { // an answer that is there already counts, however late it is
	case <-l.done:
		return true
	default:
	}
	t := time.NewTimer(time.Until(l.asked.Add(memberWait)))
	defer t.Stop()
	select {
	case <-l.done:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// beside runs f beside the request that caused it, until Close. It returns false, and does nothing, after that.
func (a *Adapter) beside(f func(context.Context)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.wg.Go(func() {
		ctx, cancel := context.WithTimeout(a.stopping, sendTimeout)
		defer cancel()
		f(ctx)
	})
	return true
}

func (a *Adapter) askMember(ctx context.Context, id string, l *lookup) {
	defer close(l.done)
	var answer struct {
		User goslack.User `json:"user"`
	}
	err := a.call(ctx, "users.info", url.Values{"user": {id}}, &answer)
	e, _ := errors.AsType[*callError](err)
	now := time.Now()
	switch {
	case err == nil:
		l.m, l.ok, l.until = memberOf(&answer.User), true, now.Add(memberFresh)
	case e != nil && slices.Contains([]string{"user_not_found", "user_not_visible", "users_not_found"}, e.code):
		l.ok, l.until = true, now.Add(memberNone)
	default:
		a.log.Warn("Slack did not say who somebody is", "user", shorten(clean(id), 20), "err", err)
		l.until = now.Add(memberRetry)
	}
}

func (a *Adapter) askHome(ctx context.Context, l *lookup) {
	defer close(l.done)
	var r struct {
		Team       string `json:"team_id"`
		Enterprise string `json:"enterprise_id"`
	}
	if err := a.call(ctx, "auth.test", nil, &r); err != nil || r.Team == "" {
		a.log.Warn("Slack did not say which workspace the bot token is of", "err", err)
		l.until = time.Now().Add(homeRetry)
		return
	}
	// A token does not move to another workspace: this is asked once.
	l.home, l.ok, l.until = workplace{r.Team, r.Enterprise}, true, time.Now().Add(100*365*24*time.Hour)
}
