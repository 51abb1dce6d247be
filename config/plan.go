// Package config turns tocsin.yml and the rule files that it names into one immutable Plan, or into a
// list of problems with positions. It decides nothing at run time and holds no state.
//
// Each block is decoded and validated by the package that uses it; this package reads files, knows which
// sections exist, and checks names across blocks. Start reading at Load.
package config

import (
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/evaluator/alertmanagers"
	"tocsin/evaluator/prometheus"
	"tocsin/evaluator/remotewrite"
	"tocsin/notifier/alertmanager"
	"tocsin/notifier/outgoing"
	"tocsin/notifier/pager"
	"tocsin/notifier/slack"
	"tocsin/notifier/watchdog"
	"tocsin/oncall"
	"tocsin/problem"
	"tocsin/rules"
)

// Plan is one load of the configuration: complete, checked, never changed.
type Plan struct {
	File               string
	RuleFiles          []string                     // in order, each once
	Hash               string                       // of the configuration and rule files; secret files do not count
	Prometheus         prometheus.Config            // the backend of groups that name none
	Backends           map[string]prometheus.Config // all of them, by name
	EvaluationInterval time.Duration
	UnknownAfter       time.Duration // 0: three intervals or 5 m, the longer
	ExternalLabels     labels.Labels
	Rules              rules.Set
	RemoteWrite        *remotewrite.Config      // nil: series are written nowhere
	Alertmanagers      []alertmanagers.Config   // none: alerts are sent on to nobody
	EscalationAt       map[string]problem.Place // where each escalation is defined, by name
	Policy             oncall.Policy            // without ExternalURL and LinkKey, which cmd adds
	Heartbeats         []oncall.Heartbeat       // in order of the file
	Jobs               []oncall.Job             // in order of the file
	Watchdog           *watchdog.Config         // nil: no pulse is sent
	Slack              *slack.Config            // the first of Workspaces; nil: no Slack
	Workspaces         []slack.Config           // of Slack, in order of the file
	Outgoing           outgoing.Policy          // what tocsin's own senders may connect to
	Pages              map[oncall.Endpoint]pager.Config
	Twilio             map[oncall.Endpoint]pager.Twilio
	Ntfy               map[oncall.Endpoint]pager.NtfyConfig
	PagerDuty          map[oncall.Endpoint]pager.Account // entries that incidents are brought to with acknowledgements
	Opsgenie           map[oncall.Endpoint]pager.Account
	Hooks              map[pager.HookName]pager.Hook // where those far ends report back
	Alertmanager       *alertmanager.Config          // the sections that Alertmanager defines; nil: the file has none of them
}

// Counts is the size of a plan, for a person who asks whether all of it was found.
type Counts struct {
	RuleFiles, Groups, Rules, Escalations, Schedules, Users, Receivers int
}

// Counts counts what the plan holds.
func (p *Plan) Counts() Counts {
	return Counts{RuleFiles: len(p.RuleFiles), Groups: len(p.Rules.Groups), Rules: p.Rules.Rules(),
		Escalations: len(p.Policy.Escalations), Schedules: len(p.Policy.Schedules), Users: len(p.Policy.Users), Receivers: len(p.Policy.Receivers)}
}

// String is a line such as "2 rules in 1 group of 1 file, 1 escalation, 3 users, 2 receivers".
func (c Counts) String() string {
	n := func(count int, one, many string) string {
		if count == 1 {
			return "1 " + one
		}
		return fmt.Sprintf("%d %s", count, many)
	}
	schedules := ""
	if c.Schedules > 0 {
		schedules = ", " + n(c.Schedules, "schedule", "schedules")
	}
	return fmt.Sprintf("%s in %s of %s, %s%s, %s, %s", n(c.Rules, "rule", "rules"), n(c.Groups, "group", "groups"), n(c.RuleFiles, "file", "files"),
		n(c.Escalations, "escalation", "escalations"), schedules, n(c.Users, "user", "users"), n(c.Receivers, "receiver", "receivers"))
}
