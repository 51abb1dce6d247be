package oncall

import (
	"regexp"
	"strings"
)

// Where there are several Slack workspaces, an address in any but the first begins with the workspace's name:
// shop/#alerts, shop/U02ANA.

// WorkspaceName is the form of a Slack workspace's name in the configuration.
var WorkspaceName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// CutWorkspace splits an address into the workspace that it names and what is left. named is false where it names none.
func CutWorkspace(address string) (workspace, rest string, named bool) {
	workspace, rest, named = strings.Cut(address, "/")
	if !named {
		return "", address, false
	}
	return workspace, rest, true
}

// JoinWorkspace makes an address in a workspace; "" is the first one, whose name is not written.
func JoinWorkspace(workspace, rest string) string {
	if workspace == "" {
		return rest
	}
	return workspace + "/" + rest
}

// SlackIn returns the user's Slack ID in a workspace, "" for none. The first workspace is "".
func (u User) SlackIn(workspace string) string {
	if id, ok := u.SlackElsewhere[workspace]; ok {
		return id
	}
	if in, id, _ := CutWorkspace(u.Slack); in == workspace {
		return id
	}
	return ""
}

// InFirstWorkspace makes name the workspace that addresses need not name: what was written with it is written without.
func (u User) InFirstWorkspace(name string) User {
	all := map[string]string{}
	for w, id := range u.SlackElsewhere {
		all[w] = id
	}
	if w, id, _ := CutWorkspace(u.Slack); id != "" {
		all[w] = id
	}
	if id, ok := all[name]; ok && name != "" {
		delete(all, name)
		all[""] = id
	}
	u.Slack, u.SlackElsewhere = "", nil
	first := ""
	if _, ok := all[""]; !ok { // they are told in the workspace that comes first by its name
		for w := range all {
			if first == "" || w < first {
				first = w
			}
		}
	}
	if id, ok := all[first]; ok {
		u.Slack = JoinWorkspace(first, id)
		delete(all, first)
	}
	if len(all) > 0 {
		u.SlackElsewhere = all
	}
	return u
}
