package alertmanager

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/config"
	amcommon "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/timeinterval"

	"tocsin/oncall"
)

// integrationLists are the lists of a receiver in the order in which Alertmanager builds them.
var integrationLists = []string{"webhook_configs", "email_configs", "pagerduty_configs", "opsgenie_configs", "wechat_configs",
	"slack_configs", "victorops_configs", "pushover_configs", "sns_configs", "telegram_configs", "discord_configs", "webex_configs",
	"msteams_configs", "msteamsv2_configs", "jira_configs", "incidentio_configs", "rocketchat_configs", "mattermost_configs"}

// routingOf is what the dispatcher follows of a configuration.
func routingOf(c *config.Config, routed bool) oncall.Routing {
	r := oncall.Routing{ResolveTimeout: time.Duration(c.Global.ResolveTimeout), TimeIntervals: map[string][]timeinterval.TimeInterval{}}
	if routed {
		r.Root = routeOf(dispatch.NewRoute(c.Route, nil), nil, 0)
	}
	for _, i := range c.InhibitRules {
		r.InhibitRules = append(r.InhibitRules, inhibitRuleOf(i))
	}
	for _, m := range c.MuteTimeIntervals {
		r.TimeIntervals[m.Name] = m.TimeIntervals
	}
	for _, t := range c.TimeIntervals {
		r.TimeIntervals[t.Name] = t.TimeIntervals
	}
	return r
}

// routeOf turns a route with its children. parent is nil for the root; i is the route's place among its siblings.
func routeOf(r *dispatch.Route, parent *oncall.Route, i int) *oncall.Route {
	o := r.RouteOpts
	id := r.Matchers.String()
	key := id
	if parent != nil {
		key = parent.Key + "/" + key
		id = parent.ID + "/" + id + "/" + strconv.Itoa(i)
	}
	out := &oncall.Route{
		ID: id, Key: key, Index: r.Idx,
		Receiver: o.Receiver, GroupByAll: o.GroupByAll,
		GroupWait: o.GroupWait, GroupInterval: o.GroupInterval, RepeatInterval: o.RepeatInterval,
		MuteTimeIntervals: o.MuteTimeIntervals, ActiveTimeIntervals: o.ActiveTimeIntervals,
		Matchers: r.Matchers, Continue: r.Continue,
	}
	for name := range o.GroupBy {
		out.GroupBy = append(out.GroupBy, string(name))
	}
	slices.Sort(out.GroupBy)
	if len(o.Labels) > 0 {
		out.Labels = make(map[string]string, len(o.Labels))
		for name, value := range o.Labels {
			out.Labels[string(name)] = string(value)
		}
	}
	for i, child := range r.Routes {
		out.Routes = append(out.Routes, routeOf(child, out, i))
	}
	return out
}

func inhibitRuleOf(r amcommon.InhibitRule) oncall.InhibitRule {
	out := oncall.InhibitRule{
		Name:   r.Name,
		Source: matchersOf(r.SourceMatch, r.SourceMatchRE, r.SourceMatchers),
		Target: matchersOf(r.TargetMatch, r.TargetMatchRE, r.TargetMatchers),
	}
	for _, name := range r.Equal {
		if !slices.Contains(out.Equal, name) {
			out.Equal = append(out.Equal, name)
		}
	}
	return out
}

// matchersOf joins a matcher list with the two deprecated ways of writing it.
func matchersOf(equal map[string]string, re amcommon.MatchRegexps, list amcommon.Matchers) labels.Matchers {
	var out labels.Matchers
	add := func(t labels.MatchType, name, value string) {
		// The parser has compiled the expression already.
		if m, err := labels.NewMatcher(t, name, value); err == nil {
			out = append(out, m)
		}
	}
	for name, value := range equal {
		add(labels.MatchEqual, name, value)
	}
	for name, value := range re {
		add(labels.MatchRegexp, name, value.String())
	}
	slices.SortFunc(out, func(a, b *labels.Matcher) int { return strings.Compare(a.String(), b.String()) })
	return append(out, list...)
}

// receiversOf is the receivers with their integrations.
func receiversOf(c *config.Config) []oncall.Receiver {
	var out []oncall.Receiver
	for _, r := range c.Receivers {
		o := oncall.Receiver{Name: r.Name, Labels: r.Labels}
		for _, list := range integrationLists {
			entries := listOf(&r, list)
			for i := range entries.Len() {
				sr, _ := entries.Index(i).Interface().(notify.ResolvedSender)
				_, direct := directOf(entries.Index(i))
				o.Integrations = append(o.Integrations, oncall.Integration{
					Endpoint: oncall.IntegrationEndpoint(list, r.Name, i), SendResolved: sr.SendResolved(), Acks: direct,
				})
			}
		}
		out = append(out, o)
	}
	return out
}

// listOf is a receiver's list by the name that it has in the file: a slice of pointers.
func listOf(r *config.Receiver, name string) reflect.Value {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		if key, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ","); key == name {
			return v.Field(i)
		}
	}
	panic("no such list: " + name) // a test looks at all of them
}
