package slack

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"

	"tocsin/oncall"
	"tocsin/problem"
)

// The part of `tocsin slack check` about who is on call: the user groups that are kept to them, and the topics that name them.

// topicRoom is for how many characters of names a topic must have room.
const topicRoom = 40

// presence are the addresses that one setting of the schedules names in this workspace, each once, sorted.
func (a *Adapter) presence(of func(oncall.Schedule) string) []string {
	all := map[string]bool{}
	for _, s := range a.policy().Schedules {
		address := of(s)
		if place, rest, _ := oncall.CutWorkspace(address); address != "" && place == a.place {
			all[rest] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (a *Adapter) topics() []string {
	return a.presence(func(s oncall.Schedule) string { return s.SlackTopic })
}

// lackAny names the scopes of a list that the token is known to lack.
func (c *checking) lackAny(scopes ...string) (missing []string) {
	for _, s := range scopes {
		if c.lacks[s] {
			missing = append(missing, s)
		}
	}
	return missing
}

// groups looks for the user groups that schedules name.
func (c *checking) groups(ctx context.Context) {
	names := c.a.presence(func(s oncall.Schedule) string { return s.SlackUserGroup })
	if len(names) == 0 {
		return
	}
	if missing := c.lackAny("usergroups:read", "usergroups:write"); len(missing) > 0 {
		c.bad("user groups", strings.Join(names, ", ")+" cannot be kept to who is on call without "+strings.Join(missing, " and "), "add the scopes above; then run this again")
		if c.lacks["usergroups:read"] {
			return
		}
	}
	var all struct {
		Groups []userGroup `json:"usergroups"`
	}
	if e := c.ask(ctx, "usergroups.list", url.Values{"include_users": {"true"}, "include_disabled": {"true"}}, &all); e != nil {
		c.bad("user groups", "they cannot be listed: "+e.text, "add the scopes above; user groups also need a paid plan of Slack's")
		return
	}
	for _, name := range names {
		c.group(name, all.Groups)
	}
}

func (c *checking) group(name string, all []userGroup) {
	what := "user group " + name
	handle, byHandle := strings.CutPrefix(name, "@")
	var handles []string
	for _, g := range all {
		handles = append(handles, g.Handle)
		if byHandle && g.Handle != handle || !byHandle && g.ID != name {
			continue
		}
		if g.Disabled != 0 {
			c.bad(what, "it is disabled", "in Slack: Directories, User groups, show disabled ones, "+clean(g.Handle)+", ⋮, Enable; or name another one in slack_user_group")
			return
		}
		c.good(what, "found, with %s; Slack tells only when tocsin changes it whether the app may (Settings & administration, Permissions, User groups)",
			plural(len(g.Users), "member"))
		return
	}
	hint := ""
	if did := problem.DidYouMean(handle, handles); byHandle && did != "" {
		hint = " (" + clean(did) + ")"
	}
	c.bad(what, "Slack has none by that name"+hint, "in Slack: Directories, User groups, Create, with this handle and anybody in it; or correct slack_user_group")
}

// topic looks whether a channel's topic may be set, where a schedule says so. That the app is in it, the channel's own line says.
func (c *checking) topic(name string, ch slackChannel) {
	if !slices.Contains(c.a.topics(), name) {
		return
	}
	what, scope := "topic of "+name, "channels:write.topic"
	if ch.Private {
		scope = "groups:write.topic"
	}
	_, full := topicWith(typedTopic(ch.Topic.Value), strings.Repeat("x", topicRoom))
	switch {
	case c.lacks[scope]:
		c.bad(what, "it cannot be set without "+scope, "add the scopes above; then run this again")
	case ch.Archived || !ch.Member:
		c.bad(what, "it cannot be set in an archived channel, or by an app that is not in it", "see the channel's line above")
	case full != nil:
		c.bad(what, clean(full.Error()), "in Slack: the channel's settings, Edit topic")
	default:
		c.good(what, "it may be set")
	}
}
