package slack

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"tocsin/oncall"
	"tocsin/problem"
)

// Who presses and types. A member of the workspace is a configured user by their Slack ID, or by an e-mail address that
// Slack says is theirs. Everybody else may look, but not act, unless the configuration says so; who belongs to another
// workspace may do neither.

// caller is who a request says it comes from. The request is signed, so it is Slack that says so.
type caller struct {
	id         string
	called     string // only shown beside the ID: anybody can call themselves ana
	team       string // the workspace of the person, "" where Slack does not say
	enterprise string
}

// person is who pressed or typed.
type person struct {
	name    string         // for the timeline
	user    string         // name of the configured user, "" for others
	id      string         // Slack's
	place   string         // in addresses, their workspace: "" for the first one
	may     bool           // may act
	unsure  bool           // Slack could not be asked in time who that is
	foreign bool           // of another workspace: sees nothing either
	loc     *time.Location // for "until morning"; never nil
}

// identify finds out who somebody is. It asks Slack only about people that the configuration does not name by their
// ID, and does not wait for it longer than a press may take.
func (a *Adapter) identify(ctx context.Context, c caller) person {
	p := a.recognise(ctx, c)
	p.place = a.place
	return p
}

func (a *Adapter) recognise(ctx context.Context, c caller) person {
	users := a.users()
	if u, ok := userBySlackID(users, c.id); ok {
		return known(u, c.id)
	}
	p := person{name: "Slack user " + shorten(clean(c.id), 20), id: c.id, loc: time.UTC}
	if called := shorten(clean(c.called), 40); called != "" {
		p.name += " (" + called + ")"
	}
	if c.id == "" {
		return p
	}
	home, athome := a.home(ctx)
	var m member
	if byEmail(users) || home.enterprise != "" {
		var ok bool
		if m, ok = a.member(ctx, c.id); !ok {
			p.unsure = true
		}
		if m.loc != nil {
			p.loc = m.loc
		}
		if u, found := userOf(users, m, home); ok && found && athome {
			k := known(u, c.id)
			if u.TimeZone == "" {
				k.loc = p.loc
			}
			return k
		}
	}
	p.foreign = athome && !home.has(c, m)
	p.unsure = p.unsure || !athome && (byEmail(users) || a.cfg.AllowUnknown)
	p.may = a.cfg.AllowUnknown && athome && !p.foreign && !m.bot
	return p
}

func known(u oncall.User, id string) person {
	p := person{name: u.Name, user: u.Name, id: id, may: true, loc: u.Location}
	if p.loc == nil {
		p.loc = time.UTC
	}
	return p
}

func userBySlackID(users map[string]oncall.User, id string) (oncall.User, bool) {
	for _, u := range users {
		if id != "" && u.Slack == id {
			return u, true
		}
	}
	return oncall.User{}, false
}

func byEmail(users map[string]oncall.User) bool {
	for _, u := range users {
		if u.Email != "" {
			return true
		}
	}
	return false
}

// userOf finds the configured user that a member is: by either of the two IDs that an Enterprise Grid gives, or by the
// address that Slack has verified.
func userOf(users map[string]oncall.User, m member, home workplace) (oncall.User, bool) {
	for _, id := range []string{m.id, m.gridID} {
		if u, ok := userBySlackID(users, id); ok {
			return u, !m.deleted
		}
	}
	if !m.verified(home) {
		return oncall.User{}, false
	}
	for _, u := range users {
		if u.Email != "" && strings.EqualFold(u.Email, m.email) {
			return u, true
		}
	}
	return oncall.User{}, false
}

// workplace is the workspace that the bot token belongs to.
type workplace struct{ team, enterprise string }

// has reports whether somebody belongs to the workspace, or to another one of its enterprise. m is what is known of
// them, perhaps nothing.
func (w workplace) has(c caller, m member) bool {
	if w.enterprise != "" && (c.enterprise == w.enterprise || m.enterprise == w.enterprise) {
		return !m.stranger
	}
	return (c.team == "" || c.team == w.team || c.team == w.enterprise) && (m.team == "" || m.team == w.team) && !m.stranger
}

// is reports whether a request was made in the workspace. team may be empty where an enterprise installed the app.
func (w workplace) is(team, enterprise string) bool {
	return team == "" && enterprise == "" || team == w.team || w.enterprise != "" && (enterprise == w.enterprise || team == w.enterprise)
}

// elsewhere reports whether a request was made in another workspace than the bot token's. An app that is distributed has one
// signing secret for all of them.
func (a *Adapter) elsewhere(ctx context.Context, team, enterprise string) bool {
	home, ok := a.home(ctx)
	return ok && !home.is(team, enterprise)
}

// notHere answers a request from elsewhere.
const notHere = "Nothing was changed: this tocsin belongs to another Slack workspace."

// refusal is the private answer to somebody who may not act, or, foreign, not even look.
func refusal(p person) string {
	switch {
	case p.foreign:
		return "Nothing was changed: you are of another Slack workspace than this tocsin."
	case p.unsure:
		return "Nothing was changed: Slack could not tell just now who you are. Please try again in a moment, or use the page or the link."
	}
	return "Nothing was changed: tocsin does not know you. Ask for a user with `slack: " + strings.Trim(code(p.id, 20), "`") + "` in its configuration. " +
		"You may look: list, why, who."
}

// named finds the configured user that somebody wrote or chose: an ID of Slack's, escaped or plain, a name, or me. The
// complaint is mrkdwn.
func (a *Adapter) named(ctx context.Context, text string, me person) (user, complaint string) {
	users := a.users()
	if user, ok := findUser(text, users, me); ok {
		return user, ""
	}
	if id := slackID(text); id != "" {
		p := a.identify(ctx, caller{id: id})
		switch {
		case p.user != "":
			return p.user, ""
		case p.unsure && byEmail(users):
			return "", "Nothing was changed: Slack could not tell just now who " + code(plainly(text), 60) + " is. Try again, or write their name in tocsin."
		}
	}
	complaint = "Nothing was changed: " + code(plainly(text), 60) + " is no user of tocsin."
	if hint := problem.DidYouMean(strings.TrimPrefix(plainly(text), "@"), slices.Collect(maps.Keys(users))); hint != "" {
		complaint += " " + prose(strings.ToUpper(hint[:1])+hint[1:], 400)
	}
	return "", complaint
}

// slackID is the ID in a mention, or "".
func slackID(text string) string {
	if m := escapedUser.FindStringSubmatch(text); m != nil && m[0] == text {
		return m[1]
	}
	return ""
}

// explain turns an error of Acts into a sentence for the person who asked.
func explain(err error) string {
	code := oncall.ErrorCode(err)
	e, _ := errors.AsType[*oncall.Error](err)
	answers := []oncall.Code{oncall.CodeNotFound, oncall.CodeInvalid, oncall.CodeConflict, oncall.CodeForbidden}
	switch {
	case errors.Is(err, oncall.ErrRequestSeen):
		return "This request was handled before."
	case e != nil && slices.Contains(answers, code):
		return "Nothing was changed: " + prose(e.Message, 500) + "."
	}
	return "It was *not confirmed*: tocsin could not write it down just now. Please try again, and look at the incident before you rely on it."
}
