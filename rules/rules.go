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

	Refs         []oncall.Ref    // names that the files use, alerts without escalation included; nil once checked
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

// Group is a rule group.
type Group struct {
	Name         string
	File         string
	Interval     time.Duration // 0: evaluation_interval
	QueryOffset  time.Duration
	Limit        int           // 0: none
	UnknownAfter time.Duration // 0: the configuration's
	Labels       labels.Labels // already merged into Rule.Labels
	Rules        []Rule
}

// Rule is one alerting rule, checked. (Recording rules are refused until something can write them.)
type Rule struct {
	ID            oncall.RuleID
	Hash          string // of everything that changes its meaning; part of the evidence
	Alert         string
	Expr          parser.Expr
	For           time.Duration
	KeepFiringFor time.Duration
	Labels        labels.Labels     // values may be templates
	Annotations   map[string]string // values are templates
	Escalation    string            // "" : by route, else the escalation named default
	Line          int               // of the rule in its file
}
