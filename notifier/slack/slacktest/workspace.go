package slacktest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// The parts of a workspace beside its messages: what a token may do, channels, people, user groups, topics, app homes.

// Limits of those.
const (
	maxTopic     = 250
	maxPage      = 1000 // items on a page of a list
	defaultPage  = 100
	maxGroupSize = 1000
	maxHomeView  = 250 << 10
)

// scopes are what Slack asks for, by method. A method that is missing here needs none.
var scopes = map[string][]string{
	"chat.postMessage":             {"chat:write"},
	"chat.update":                  {"chat:write"},
	"chat.postEphemeral":           {"chat:write"},
	"conversations.open":           {"im:write"},
	"conversations.list":           {"channels:read", "groups:read"},
	"conversations.info":           {"channels:read", "groups:read"},
	"conversations.setTopic":       {"channels:write.topic", "groups:write.topic"},
	"users.info":                   {"users:read"},
	"users.lookupByEmail":          {"users:read.email"},
	"usergroups.list":              {"usergroups:read"},
	"usergroups.users.list":        {"usergroups:read"},
	"usergroups.users.update":      {"usergroups:write"},
	"files.getUploadURLExternal":   {"files:write"},
	"files.completeUploadExternal": {"files:write"},
}

// grants are the scopes of the token. It needs s.mu.
func (s *Server) grants() []string {
	if s.opts.Scopes != nil {
		return s.opts.Scopes
	}
	all := map[string]bool{"commands": true}
	for _, list := range scopes {
		for _, one := range list {
			all[one] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// SetScopes gives the token other scopes, as an admin does who installs the app again.
func (s *Server) SetScopes(scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.Scopes = append([]string{}, scopes...)
}

// missing is the scope that a call lacks, "" for none. It needs s.mu.
func (s *Server) missing(method string) string {
	for _, need := range scopes[method] {
		if !slices.Contains(s.grants(), need) {
			return need
		}
	}
	return ""
}

// admit says what is wrong with a call's token, nil for nothing, and lists its scopes.
func (s *Server) admit(method, token string) (granted string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.grants(), ","), s.refuseToken(method, token)
}

// refuseToken needs s.mu.
func (s *Server) refuseToken(method, token string) error {
	want := s.opts.Token
	if method == "apps.connections.open" {
		want = s.opts.AppToken
	}
	switch {
	case token == "":
		return refuse("not_authed")
	case token == want:
	case token == s.opts.Token || token == s.opts.AppToken:
		return refuse("not_allowed_token_type")
	default:
		return refuse("invalid_auth")
	}
	if need := s.missing(method); need != "" {
		return &apiError{code: "missing_scope", needed: need, provided: strings.Join(s.grants(), ",")}
	}
	return nil
}

// UserGroup is a group of people that can be mentioned.
type UserGroup struct {
	ID       string // "S0ONCALL"
	Handle   string // without @
	Users    []string
	Disabled bool
}

// AddUserGroup adds or replaces a user group.
func (s *Server) AddUserGroup(g UserGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups[g.ID] = &g
}

// UserGroup returns a user group as it stands.
func (s *Server) UserGroup(id string) (UserGroup, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[id]
	if g == nil {
		return UserGroup{}, false
	}
	c := *g
	c.Users = slices.Clone(g.Users)
	return c, true
}

// Home returns what somebody's app home shows, nil where nothing was published.
func (s *Server) Home(user string) json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.homes[user]
}

// workspaceMethod serves the methods of this file. It needs s.mu.
func (s *Server) workspaceMethod(method string, args map[string]string) (map[string]any, error) {
	switch method {
	case "auth.test":
		return s.authTest(), nil
	case "apps.connections.open":
		return s.openSocket()
	case "conversations.list":
		return s.listConversations(args)
	case "conversations.info":
		c := s.channels[args["channel"]] // an ID: a name finds nothing
		if c == nil {
			return nil, refuse("channel_not_found")
		}
		return map[string]any{"channel": described(c)}, nil
	case "conversations.setTopic":
		return s.setTopic(args)
	case "users.info":
		u, ok := s.users[args["user"]]
		if !ok {
			return nil, refuse("user_not_found")
		}
		return map[string]any{"user": s.person(u)}, nil
	case "users.lookupByEmail":
		for _, id := range slices.Sorted(maps.Keys(s.users)) {
			if u := s.users[id]; u.Email != "" && strings.EqualFold(u.Email, args["email"]) && !u.Deleted {
				return map[string]any{"user": s.person(u)}, nil
			}
		}
		return nil, refuse("users_not_found")
	case "usergroups.list":
		return s.listGroups(args), nil
	case "usergroups.users.list", "usergroups.users.update":
		return s.groupUsers(method, args)
	case "views.publish":
		return s.publish(args)
	}
	return nil, refuse("unknown_method")
}

func (s *Server) authTest() map[string]any {
	out := map[string]any{"url": s.opts.URL, "team": "Slacktest", "team_id": s.opts.Team, "user": "tocsin", "user_id": "U0BOT", "bot_id": "B0BOT",
		"is_enterprise_install": false}
	if s.opts.Enterprise != "" {
		out["enterprise_id"] = s.opts.Enterprise
	}
	return out
}

// person is somebody as users.info shows them. The address is there only for those who may read it.
func (s *Server) person(u User) map[string]any {
	team := u.Team
	if team == "" {
		team = s.opts.Team
	}
	profile := map[string]any{"real_name": u.Name, "display_name": u.Name}
	if slices.Contains(s.grants(), "users:read.email") && u.Email != "" {
		profile["email"] = u.Email
	}
	return map[string]any{"id": u.ID, "team_id": team, "name": u.Name, "real_name": u.Name, "deleted": u.Deleted, "is_bot": u.Bot, "is_app_user": false,
		"is_email_confirmed": u.Email != "" && !u.Unconfirmed, "is_stranger": u.Stranger, "tz": u.TimeZone, "profile": profile}
}

func described(c *Channel) map[string]any {
	return map[string]any{"id": c.ID, "name": c.Name, "is_archived": c.Archived, "is_member": !c.NotMember, "is_private": c.Private,
		"is_channel": !c.Private && c.User == "", "is_group": c.Private, "is_im": c.User != "", "topic": map[string]any{"value": c.Topic}}
}

// listConversations shows public channels, and private ones that the app is in, by pages.
func (s *Server) listConversations(args map[string]string) (map[string]any, error) {
	size := defaultPage
	if l := args["limit"]; l != "" {
		if _, err := fmt.Sscan(l, &size); err != nil || size < 1 || size > maxPage {
			return nil, refuse("invalid_limit")
		}
	}
	all := []map[string]any{}
	for _, id := range slices.Sorted(maps.Keys(s.channels)) {
		c := s.channels[id]
		hidden := c.User != "" || c.Private && (c.NotMember || !strings.Contains(args["types"], "private_channel")) ||
			c.Archived && args["exclude_archived"] == "true"
		if !hidden {
			all = append(all, described(c))
		}
	}
	from := 0
	if cursor := args["cursor"]; cursor != "" {
		if _, err := fmt.Sscanf(cursor, "page:%d", &from); err != nil || from < 0 || from > len(all) {
			return nil, refuse("invalid_cursor")
		}
	}
	next, to := "", min(from+size, len(all))
	if to < len(all) {
		next = fmt.Sprintf("page:%d", to)
	}
	return map[string]any{"channels": all[from:to], "response_metadata": map[string]any{"next_cursor": next}}, nil
}

func (s *Server) setTopic(args map[string]string) (map[string]any, error) {
	c := s.channels[args["channel"]]
	switch {
	case c == nil:
		return nil, refuse("channel_not_found")
	case c.Archived:
		return nil, refuse("is_archived")
	case c.NotMember:
		return nil, refuse("not_in_channel")
	case c.User != "":
		return nil, refuse("method_not_supported_for_channel_type")
	case utf8.RuneCountInString(args["topic"]) > maxTopic:
		return nil, refuse("too_long")
	}
	c.Topic = args["topic"]
	s.changed()
	return map[string]any{"channel": described(c)}, nil
}

func (s *Server) listGroups(args map[string]string) map[string]any {
	all := []map[string]any{}
	for _, id := range slices.Sorted(maps.Keys(s.groups)) {
		g := s.groups[id]
		if g.Disabled && args["include_disabled"] != "true" {
			continue
		}
		shown := map[string]any{"id": g.ID, "handle": g.Handle, "name": g.Handle, "date_delete": map[bool]int{true: 1700000000}[g.Disabled]}
		if args["include_users"] == "true" {
			shown["users"] = g.Users
		}
		all = append(all, shown)
	}
	return map[string]any{"usergroups": all}
}

func (s *Server) groupUsers(method string, args map[string]string) (map[string]any, error) {
	g := s.groups[args["usergroup"]]
	if g == nil {
		return nil, refuse("no_such_subteam")
	}
	if method == "usergroups.users.list" {
		return map[string]any{"users": g.Users}, nil
	}
	if args["users"] == "" {
		return nil, refuse("no_users_provided") // a group is never empty: it would have to be disabled
	}
	users := strings.Split(args["users"], ",")
	if len(users) > maxGroupSize {
		return nil, refuse("invalid_users")
	}
	for _, id := range users {
		if u, ok := s.users[id]; !ok || u.Deleted || u.Bot {
			return nil, refuse("invalid_users")
		}
	}
	g.Users = users
	s.changed()
	return map[string]any{"usergroup": map[string]any{"id": g.ID, "handle": g.Handle, "users": g.Users}}, nil
}

func (s *Server) publish(args map[string]string) (map[string]any, error) {
	if _, ok := s.users[args["user_id"]]; !ok {
		return nil, refuse("invalid_arguments", "user_id is nobody")
	}
	var o object
	if err := json.Unmarshal([]byte(args["view"]), &o); err != nil {
		return nil, refuse("invalid_arguments", "view is no JSON")
	}
	c := &checker{blockIDs: map[string]bool{}}
	c.keys("", o, "type", "blocks", "private_metadata", "callback_id", "external_id")
	if o.str("type") != "home" {
		c.add("/type", "must be home")
	}
	for i, b := range c.list("", o, "blocks", maxViewBlocks) {
		c.block(fmt.Sprintf("/blocks/%d", i), b)
	}
	if len(args["view"]) > maxHomeView {
		c.add("", "the view is over 250 KB")
	}
	if len(c.problems) > 0 {
		return nil, refuse("invalid_arguments", c.problems...)
	}
	s.homes[args["user_id"]] = json.RawMessage(args["view"])
	s.changed()
	o["id"] = json.RawMessage(fmt.Sprintf("%q", s.newID("V")))
	return map[string]any{"view": o}, nil
}
