package oncall

import (
	"slices"
	"strings"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/prometheus/model/labels"
)

// Routing is everything configured that the dispatcher follows, in Alertmanager's terms: immutable,
// replaced whole at reload. The zero value routes nothing.
type Routing struct {
	Root           *Route // nil: there is no route, and only escalations take alerts
	InhibitRules   []InhibitRule
	TimeIntervals  map[string][]timeinterval.TimeInterval
	ResolveTimeout time.Duration // of posted alerts without an end; 0: DefaultResolveTimeout
}

// DefaultResolveTimeout is Alertmanager's global.resolve_timeout.
const DefaultResolveTimeout = 5 * time.Minute

// Route is a node of the routing tree, with what it inherits already worked out.
type Route struct {
	ID    string // "{}/{team=\"shop\"}/0", as Alertmanager names it
	Key   string // "{}/{team=\"shop\"}": begins the keys of its groups
	Index int    // in Alertmanager's numbering: children before their parent

	Receiver            string
	GroupBy             []string // sorted; nil or empty: one group
	GroupByAll          bool     // '...': each label set is a group
	GroupWait           time.Duration
	GroupInterval       time.Duration
	RepeatInterval      time.Duration
	MuteTimeIntervals   []string
	ActiveTimeIntervals []string
	Labels              map[string]string // templates, rendered by the sender

	Matchers amlabels.Matchers
	Continue bool
	Routes   []*Route
}

// InhibitRule mutes targets while a source fires that agrees with them in the labels of Equal.
type InhibitRule struct {
	Name   string
	Source amlabels.Matchers
	Target amlabels.Matchers
	Equal  []string
}

// Integration is one entry of a receiver's Alertmanager integrations.
type Integration struct {
	Endpoint     Endpoint
	SendResolved bool
	Acks         bool // its far end keeps incidents of its own, and is told when somebody has one
}

// IntegrationEndpoint returns the endpoint of the i-th (from 0) entry of a receiver's list, which is
// named as in the configuration, "webhook_configs", but for tocsin's own: "call", "sms", "ntfy".
func IntegrationEndpoint(list, receiver string, i int) Endpoint {
	e := PageEndpoint(receiver, i)
	return Endpoint(list + ":" + e.Address())
}

// Integration reports whether the endpoint is one of Alertmanager's integrations.
func (e Endpoint) Integration() bool { return strings.HasSuffix(e.Kind(), "_configs") }

// integration finds an endpoint among the receivers' integrations.
func (p Policy) integration(e Endpoint) (Integration, bool) {
	if !e.Integration() {
		return Integration{}, false
	}
	for _, r := range p.Receivers {
		if i := slices.IndexFunc(r.Integrations, func(i Integration) bool { return i.Endpoint == e }); i >= 0 {
			return r.Integrations[i], true
		}
	}
	return Integration{}, false
}

// GroupLabelsOf returns the labels that make the group of an alert under the route.
func (r *Route) GroupLabelsOf(ls labels.Labels) labels.Labels {
	if r.GroupByAll {
		return ls
	}
	b := labels.NewScratchBuilder(len(r.GroupBy))
	for _, name := range r.GroupBy {
		if v := ls.Get(name); v != "" {
			b.Add(name, v)
		}
	}
	b.Sort()
	return b.Labels()
}
