// Package config turns tocsin.yml and the rule files that it names into one immutable Plan, or into a
// list of problems with positions. It decides nothing at run time and holds no state.
//
// Each block is decoded and validated by the package that uses it; this package reads files, knows which
// sections exist, and checks names across blocks. Start reading at Load.
package config

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/evaluator/prometheus"
	"tocsin/notifier/pager"
	"tocsin/notifier/slack"
	"tocsin/oncall"
	"tocsin/rules"
)

// Plan is one load of the configuration: complete, checked, never changed.
type Plan struct {
	File               string
	Hash               string // of all files it was made from
	Prometheus         prometheus.Config
	EvaluationInterval time.Duration
	UnknownAfter       time.Duration // 0: three intervals or 5 m, the longer
	ExternalLabels     labels.Labels
	Rules              rules.Set
	Policy             oncall.Policy // without ExternalURL and LinkKey, which cmd adds
	Slack              *slack.Config // nil: no Slack
	Pages              map[oncall.Endpoint]pager.Config
}
