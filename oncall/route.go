package oncall

import (
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// Match returns the routes that an alert takes, in Alertmanager's order: at each level the first child that
// matches, and the ones after it as long as each that matched says continue; a route itself where none of
// its children matches. nil: not even r matches.
func (r *Route) Match(ls labels.Labels) []*Route { return r.match(ls, nil) }

func (r *Route) match(ls labels.Labels, found []*Route) []*Route {
	if !MatchersMatch(r.Matchers, ls) {
		return found
	}
	before := len(found)
	for _, child := range r.Routes {
		n := len(found)
		found = child.match(ls, found)
		if len(found) > n && !child.Continue {
			break
		}
	}
	if len(found) == before {
		found = append(found, r)
	}
	return found
}

// Walk calls visit for the route and all below it, parents before their children.
func (r *Route) Walk(visit func(*Route)) {
	visit(r)
	for _, child := range r.Routes {
		child.Walk(visit)
	}
}

// GroupKeyOf returns Alertmanager's key of the group with these labels under the route.
func (r *Route) GroupKeyOf(group labels.Labels) string {
	var b strings.Builder
	b.Grow(len(r.Key) + int(group.ByteSize()) + 8*group.Len() + 4)
	b.WriteString(r.Key)
	b.WriteString(":{")
	first := true
	var quoted [128]byte
	group.Range(func(l labels.Label) {
		if !first {
			b.WriteString(", ")
		}
		first = false
		b.WriteString(l.Name)
		b.WriteByte('=')
		b.Write(strconv.AppendQuote(quoted[:0], l.Value))
	})
	b.WriteByte('}')
	return b.String()
}
