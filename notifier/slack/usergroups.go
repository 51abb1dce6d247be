package slack

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	goslack "github.com/slack-go/slack"

	"tocsin/notifier"
	"tocsin/oncall"
	"tocsin/problem"
)

// User groups: @session-oncall is whoever is on call. Slack is asked who is in a group before it is changed, so that
// nothing is written where nothing differs.

// syncTimeout bounds all that keeping one place in Slack up to date asks for.
const syncTimeout = 30 * time.Second

var _ notifier.PresenceSender = (*Adapter)(nil)

// userGroup is a group as Slack lists it.
type userGroup struct {
	ID       string   `json:"id"`
	Handle   string   `json:"handle"`
	Disabled int64    `json:"date_delete"` // 0: it is in use
	Users    []string `json:"users"`
}

// SyncGroup makes a user group ("@handle" or its ID) consist of users, by their names in tocsin. It never empties one:
// Slack does not take that, and whoever mentions the group must reach somebody.
func (a *Adapter) SyncGroup(ctx context.Context, group string, users []string) notifier.GroupSync {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	g, err := a.userGroup(ctx, group)
	if err != nil {
		return groupFailure(err)
	}
	var done notifier.GroupSync
	ids, unmapped, err := a.slackIDs(ctx, users)
	if err != nil {
		return groupFailure(err)
	}
	done.Outcome, done.Unmapped = oncall.OutcomeDelivered, unmapped
	slices.Sort(g.Users)
	if len(ids) == 0 || slices.Equal(ids, g.Users) {
		return done
	}
	if err := a.call(ctx, "usergroups.users.update", url.Values{"usergroup": {g.ID}, "users": {strings.Join(ids, ",")}}, nil); err != nil {
		failed := groupFailure(err)
		failed.Unmapped = unmapped
		return failed
	}
	done.Changed = true
	return done
}

// userGroup finds a group.
func (a *Adapter) userGroup(ctx context.Context, group string) (userGroup, error) {
	var all struct {
		Groups []userGroup `json:"usergroups"`
	}
	if err := a.call(ctx, "usergroups.list", url.Values{"include_users": {"true"}, "include_disabled": {"true"}}, &all); err != nil {
		return userGroup{}, err
	}
	handle, byHandle := strings.CutPrefix(group, "@")
	var handles []string
	for _, g := range all.Groups {
		if byHandle && g.Handle != handle || !byHandle && g.ID != group {
			handles = append(handles, g.Handle)
			continue
		}
		if g.Disabled != 0 {
			return g, oncall.Errorf(oncall.CodeConflict, "the user group %s is disabled in Slack: enable it, or name another", group)
		}
		return g, nil
	}
	hint := ""
	if byHandle {
		if did := problem.DidYouMean(handle, handles); did != "" {
			hint = " (" + clean(did) + ")"
		}
	}
	return userGroup{}, oncall.Errorf(oncall.CodeNotFound, "Slack has no user group %s%s: create it there, with anybody in it", group, hint)
}

// slackIDs finds who users are in this workspace, by their ID or their verified address, sorted. Whoever Slack does not
// know is unmapped. An error says that Slack could not be asked: nobody may fall out of a group because of that.
func (a *Adapter) slackIDs(ctx context.Context, users []string) (ids, unmapped []string, err error) {
	known := a.users()
	for _, name := range users {
		u := known[name]
		id := u.Slack
		if id == "" && u.Email != "" {
			if id, err = a.byAddress(ctx, u.Email); err != nil {
				return nil, nil, err
			}
		}
		switch {
		case id == "":
			unmapped = append(unmapped, name)
		case !slices.Contains(ids, id):
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, unmapped, nil
}

// byAddress returns the ID of the member whose verified address it is, "" for nobody.
func (a *Adapter) byAddress(ctx context.Context, email string) (string, error) {
	home, ok := a.home(ctx)
	if !ok {
		return "", oncall.Errorf(oncall.CodeUnavailable, "Slack did not say which workspace the bot token is of")
	}
	var answer struct {
		User goslack.User `json:"user"`
	}
	err := a.call(ctx, "users.lookupByEmail", url.Values{"email": {email}}, &answer)
	if e, is := errors.AsType[*callError](err); is && e.code == "users_not_found" {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if m := memberOf(&answer.User); m.verified(home) && strings.EqualFold(m.email, email) {
		return m.id, nil
	}
	return "", nil
}

// groupFailure says what a failure means for the next try.
func groupFailure(err error) notifier.GroupSync {
	if e, ok := errors.AsType[*callError](err); ok {
		return notifier.GroupSync{Outcome: e.outcome, RetryAfter: e.retryAfter, Error: e.text}
	}
	outcome := oncall.OutcomeRefused
	if oncall.ErrorCode(err) == oncall.CodeUnavailable {
		outcome = oncall.OutcomeRetry
	}
	return notifier.GroupSync{Outcome: outcome, Error: bounded(clean(err.Error()))}
}
