package oncall

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"tocsin/problem"
)

// RefWorkspace is the Kind of a Ref to a Slack workspace.
const RefWorkspace = "Slack workspace"

var (
	slackUserID  = regexp.MustCompile(`^[UW][A-Z0-9]+$`)
	slackGroup   = regexp.MustCompile(`^([a-z0-9][a-z0-9_-]{0,31}/)?(@?[a-z0-9][a-z0-9._-]{0,79}|S[A-Z0-9]{4,})$`)
	slackGroupID = regexp.MustCompile(`^S[A-Z0-9]{4,}$`)
	slackChannel = regexp.MustCompile(`^([a-z0-9][a-z0-9_-]{0,31}/)?(#[^\s#@A-Z.,:;!?"'<>/]{1,80}|[CGD][A-Z0-9]{2,})$`)
)

// decodeSlackID decodes who a user is in Slack: an ID, or one a workspace. taken has the owners of the IDs seen before.
func decodeSlackID(d *problem.Document, n *yaml.Node, user string, taken map[string]string) (u User, refs []Ref, problems problem.List) {
	if n == nil {
		return u, nil, nil
	}
	check := func(id problem.At[string], workspace string) {
		if !slackUserID.MatchString(id.Value) {
			problems = append(problems, id.Place.Errorf("expected a Slack user ID such as U02ANA, found %q", id.Value).
				WithHint("in Slack: the person's profile, then Copy member ID"))
			return
		}
		key := JoinWorkspace(workspace, id.Value)
		if other, ok := taken[key]; ok {
			problems = append(problems, id.Place.Errorf("the Slack ID %s is user %q's already", id.Value, other).
				WithHint("each press must belong to one person"))
		}
		taken[key] = user
	}
	if n.Kind != yaml.MappingNode {
		var id problem.At[string]
		if problems = d.Decode(n, &id); len(problems) == 0 {
			check(id, "")
		}
		return User{Slack: id.Value}, nil, problems
	}
	var ids map[problem.At[string]]problem.At[string]
	problems = d.Decode(n, &ids)
	u.SlackElsewhere = map[string]string{}
	for workspace, id := range ids {
		check(id, workspace.Value)
		refs = append(refs, Ref{RefWorkspace, workspace.Value, workspace.Place})
		u.SlackElsewhere[workspace.Value] = id.Value
	}
	if len(ids) == 0 && len(problems) == 0 {
		problems = append(problems, d.At(n).Errorf("expected a Slack user ID, or one for each workspace, such as {shop: U02ANA}"))
	}
	return u.InFirstWorkspace(""), refs, problems
}

// checkChannel reports what cannot be a channel.
func checkChannel(c problem.At[string], or string) problem.List {
	if slackChannel.MatchString(c.Value) {
		return nil
	}
	p := c.Place.Errorf("expected %sa Slack channel such as '#alerts' (in quotes) or its ID, found %q", or, c.Value)
	if slackChannel.MatchString("#" + c.Value) {
		p = p.WithHint("did you mean '#%s'?", c.Value)
	} else if workspace, rest, named := CutWorkspace(c.Value); named && slackChannel.MatchString(workspace+"/#"+rest) {
		p = p.WithHint("did you mean '%s/#%s'?", workspace, rest)
	}
	return problem.List{p}
}

// checkUserGroup reports what cannot be a user group, and writes its address in one way: a handle with its @, or an ID.
func checkUserGroup(g problem.At[string]) (address string, problems problem.List) {
	if !slackGroup.MatchString(g.Value) {
		p := g.Place.Errorf("expected a user group of Slack, its handle such as session-oncall or its ID, found %q", g.Value)
		if small := strings.ToLower(g.Value); slackGroup.MatchString(small) {
			p = p.WithHint("did you mean %q?", small)
		}
		return "", problem.List{p}
	}
	workspace, group, _ := CutWorkspace(g.Value)
	if !slackGroupID.MatchString(group) {
		group = "@" + strings.TrimPrefix(group, "@")
	}
	return JoinWorkspace(workspace, group), nil
}
