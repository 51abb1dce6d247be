// Package rules loads rule files: Prometheus' format, plus what tocsin adds to it. It is pure but for
// reading files: it does not know how a rule is evaluated or where its alerts go.
//
// It refuses what Prometheus refuses (its package rulefmt is the oracle of a test) and what it does not know.
//
// Start reading at Load. A Set is immutable; the evaluator replaces it whole at a reload.
package rules

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"tocsin/oncall"
	"tocsin/problem"
)

// Set is all groups of all rule files, in order of file and group.
type Set struct {
	Groups      []Group
	Escalations []oncall.Escalation // from the rule files' own escalations section

	Refs         []oncall.Ref    // what the files need of the configuration, alerts without escalation included; nil once checked
	EscalationAt []problem.Place // of Escalations, for duplicates across files; nil once checked
}

// Rules returns the number of rules.
func (s Set) Rules() int {
	n := 0
	for _, g := range s.Groups {
		n += len(g.Rules)
	}
	return n
}

// Kinds of Refs, beside those of package oncall.
const (
	RefBackend = "backend"      // a group names the backend that it asks
	RefRecord  = "remote_write" // a recording rule, by its metric, has to be written somewhere
)

// Group is a rule group.
type Group struct {
	Name         string
	File         string
	Interval     time.Duration // 0: evaluation_interval
	QueryOffset  time.Duration
	Limit        int               // 0: none
	UnknownAfter time.Duration     // 0: the configuration's
	Labels       labels.Labels     // already merged into Rule.Labels
	Prometheus   string            // name of the backend that is asked; "": the default one
	Headers      map[string]string // of each query, over the backend's own: a tenant of Mimir, say; nil: none
	Rules        []Rule
}

// NoDataMode says what becomes of an alert whose series is gone.
type NoDataMode string

// A series that is gone is not a series that recovered. What follows is for the rule to say.
const (
	NoDataOK    NoDataMode = "ok"    // the alert resolves, as in Prometheus
	NoDataHold  NoDataMode = "hold"  // the alert stays as it is, at most for Rule.NoDataFor
	NoDataAlert NoDataMode = "alert" // the series counts as breaching
)

// DefaultNoDataFor is how long an alert is held where the rule sets no no_data_for.
const DefaultNoDataFor = 24 * time.Hour

// Rule is one rule, checked. Exactly one of Alert and Record is set.
type Rule struct {
	ID            oncall.RuleID
	Hash          string // of everything that changes its meaning; part of the evidence
	Alert         string
	Record        string // the metric that a recording rule writes
	Expr          parser.Expr
	For           time.Duration
	KeepFiringFor time.Duration
	Labels        labels.Labels     // values of an alerting rule may be templates, those of a recording rule are plain
	Annotations   map[string]string // values are templates
	Escalation    string            // "" : by route, else the escalation named default
	NoData        NoDataMode        // "" in a recording rule; other than ok only where Threshold finds one
	NoDataFor     time.Duration     // with NoDataHold alone; else 0
	Recover       *float64          // the alert resolves only on the other side of it; nil: at the threshold. Set only where Threshold finds one
	Line          int               // of the rule in its file
}

// Name is the name of the alert, or of the metric that is recorded.
func (r *Rule) Name() string {
	if r.Record != "" {
		return r.Record
	}
	return r.Alert
}
