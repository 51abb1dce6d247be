package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
	_ "time/tzdata" // a time zone must mean the same where the machine has no list of them

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"go.yaml.in/yaml/v3"

	"tocsin/notifier/outgoing"
	"tocsin/notifier/pager"
	"tocsin/notifier/watchdog"
	"tocsin/oncall"
	"tocsin/problem"
	"tocsin/rules"
)

// DefaultEvaluationInterval is how often rules are asked where nothing sets it.
const DefaultEvaluationInterval = 15 * time.Second

// Load reads the configuration and the rule files that it names. The plan is nil where there are errors;
// warnings may accompany one. Secret files are read now, and a problem never shows what they hold.
func Load(file string) (*Plan, problem.List) { return load(file, osSource) }

// source is where a load reads from: the machine, or a test.
type source struct {
	read   func(file string) ([]byte, error)
	glob   func(pattern string) ([]string, error)
	getenv func(key string) string
}

var osSource = source{read: os.ReadFile, glob: filepath.Glob, getenv: os.Getenv}

// block is tocsin.yml. Sections are decoded by the packages that use them.
type block struct {
	Prometheus         *yaml.Node                                `yaml:"prometheus"`
	RuleFiles          []problem.At[string]                      `yaml:"rule_files"`
	EvaluationInterval problem.At[time.Duration]                 `yaml:"evaluation_interval"`
	UnknownAfter       problem.At[time.Duration]                 `yaml:"unknown_after"`
	ExternalLabels     map[problem.At[string]]problem.At[string] `yaml:"external_labels"`
	RemoteWrite        *yaml.Node                                `yaml:"remote_write"`
	Alertmanagers      *yaml.Node                                `yaml:"alertmanagers"`
	Slack              *yaml.Node                                `yaml:"slack"`
	Users              *yaml.Node                                `yaml:"users"`
	Schedules          *yaml.Node                                `yaml:"schedules"`
	Escalations        *yaml.Node                                `yaml:"escalations"`
	Receivers          *yaml.Node                                `yaml:"receivers"`
	Heartbeats         *yaml.Node                                `yaml:"heartbeats"`
	Watchdog           *yaml.Node                                `yaml:"watchdog"`
	Jobs               *yaml.Node                                `yaml:"jobs"`
	Outgoing           *yaml.Node                                `yaml:"outgoing"`

	// The rest is decoded by Alertmanager's own parser.

	Global            *yaml.Node `yaml:"global"`
	Route             *yaml.Node `yaml:"route"`
	InhibitRules      *yaml.Node `yaml:"inhibit_rules"`
	Templates         *yaml.Node `yaml:"templates"`
	MuteTimeIntervals *yaml.Node `yaml:"mute_time_intervals"`
	TimeIntervals     *yaml.Node `yaml:"time_intervals"`
	Tracing           *yaml.Node `yaml:"tracing"`
	EventRecorder     *yaml.Node `yaml:"event_recorder"`
}

// later says of each section that this build does not support what would be lost without it.
var later = map[string]string{
	"actions": "no remediation would run",
}

// ExplainKey refuses the sections of a later build, and knows the keys of prometheus.yml.
func (*block) ExplainKey(key string) (message, hint string) {
	if why, ok := later[key]; ok {
		return fmt.Sprintf("the section %q is not supported by this build yet", key), why
	}
	switch key {
	case "scrape_configs", "alerting", "remote_read", "storage":
		return fmt.Sprintf("unknown key %q", key), "this is a key of prometheus.yml: tocsin reads a file of its own, tocsin.yml"
	}
	return "", ""
}

// loading is one load under way.
type loading struct {
	source   source
	doc      *problem.Document
	plan     *Plan
	problems problem.List
	read     map[string][]byte // configuration and rule files, for the hash

	users       []problem.At[oncall.User]
	schedules   []problem.At[oncall.Schedule]
	escalations []problem.At[oncall.Escalation]
	receivers   []problem.At[oncall.Receiver]
	refs        []oncall.Ref
	routed      bool // the file has a route, right or wrong
	unread      bool // Alertmanager's sections hold errors: what they define is not known
}

func (l *loading) add(p problem.Problem) { l.problems = append(l.problems, p) }

func load(file string, s source) (*Plan, problem.List) {
	text, err := s.read(file)
	if err != nil {
		if pathError, ok := errors.AsType[*fs.PathError](err); ok {
			err = pathError.Err
		}
		return nil, problem.List{problem.Place{File: file}.Errorf("cannot read the configuration: %v", err)}
	}
	doc, problems := problem.Parse(file, text)
	doc.Read, doc.Getenv = s.read, s.getenv
	l := &loading{source: s, doc: doc, problems: problems, read: map[string][]byte{file: text}}
	l.plan = &Plan{File: file, EvaluationInterval: DefaultEvaluationInterval, Pages: map[oncall.Endpoint]pager.Config{},
		Twilio: map[oncall.Endpoint]pager.Twilio{}, Ntfy: map[oncall.Endpoint]pager.NtfyConfig{}}
	if doc.Root == nil {
		if len(problems) == 0 {
			l.add(doc.At(nil).Errorf("the configuration is empty").WithHint("examples/minimal holds the smallest useful one"))
		}
		return nil, l.problems.Sort()
	}
	var b block
	l.problems = append(l.problems, doc.Decode(doc.Root, &b)...)
	if doc.Root.Kind == yaml.MappingNode {
		l.sections(&b)
		l.ruleFiles(&b)
		l.check()
		l.promises()
	}
	if l.problems = l.problems.Sort(); len(l.problems.Errors()) > 0 {
		return nil, l.problems
	}
	l.plan.Hash = l.hash()
	return l.plan, l.problems
}

// sections decodes everything but the rule files.
func (l *loading) sections(b *block) {
	var p problem.List
	l.farEnds(b)
	if b.Slack != nil {
		l.slack(b.Slack)
	}
	for _, d := range []struct {
		from problem.At[time.Duration]
		to   *time.Duration
	}{{b.EvaluationInterval, &l.plan.EvaluationInterval}, {b.UnknownAfter, &l.plan.UnknownAfter}} {
		if !d.from.IsValid() {
			continue
		}
		if d.from.Value <= 0 {
			l.add(d.from.Place.Errorf("expected a duration above 0"))
		}
		*d.to = d.from.Value
	}
	external := map[string]string{}
	for name, value := range b.ExternalLabels {
		if !model.UTF8Validation.IsValidLabelName(name.Value) || name.Value == model.MetricNameLabel {
			l.add(name.Place.Errorf("invalid label name %q", name.Value))
		}
		external[name.Value] = value.Value
	}
	l.plan.ExternalLabels = labels.FromMap(external)

	var refs []oncall.Ref
	if b.Users != nil {
		l.users, refs, p = oncall.DecodeUsers(l.doc, b.Users)
		l.refs, l.problems = append(l.refs, refs...), append(l.problems, p...)
	}
	if b.Schedules != nil {
		l.schedules, refs, p = oncall.DecodeSchedules(l.doc, b.Schedules)
		l.refs, l.problems = append(l.refs, refs...), append(l.problems, p...)
	}
	if b.Escalations != nil {
		l.escalations, refs, p = oncall.DecodeEscalations(l.doc, b.Escalations)
		l.refs, l.problems = append(l.refs, refs...), append(l.problems, p...)
	}
	if b.Heartbeats != nil {
		l.heartbeats(b.Heartbeats)
	}
	if b.Jobs != nil {
		l.jobs(b.Jobs)
	}
	if b.Outgoing != nil {
		l.plan.Outgoing, p = outgoing.DecodePolicy(l.doc, b.Outgoing)
		l.problems = append(l.problems, p...)
	}
	if b.Watchdog != nil {
		l.plan.Watchdog, p = watchdog.DecodeConfig(l.doc, b.Watchdog)
		l.problems = append(l.problems, p...)
	}
	l.alertmanager(b)
}

// heartbeats decodes the dead man's switches.
func (l *loading) heartbeats(n *yaml.Node) {
	all, refs, p := oncall.DecodeHeartbeats(l.doc, n)
	l.refs, l.problems = append(l.refs, refs...), append(l.problems, p...)
	for _, h := range all {
		l.plan.Heartbeats = append(l.plan.Heartbeats, h.Value)
	}
}

// jobs decodes what happens at set times.
func (l *loading) jobs(n *yaml.Node) {
	all, refs, p := oncall.DecodeJobs(l.doc, n)
	l.refs, l.problems = append(l.refs, refs...), append(l.problems, p...)
	for _, j := range all {
		l.plan.Jobs = append(l.plan.Jobs, j.Value)
	}
}

// ruleFiles loads every file that the patterns match, each once, in order of pattern and name.
func (l *loading) ruleFiles(b *block) {
	if at, empty := l.withoutRuleFiles(); empty && b.Route == nil && b.Heartbeats == nil {
		l.add(at.Errorf("rule_files is missing: nothing would ever page").WithHint("such as rule_files: [rules/*.yml]"))
	}
	seen := map[string]bool{}
	for _, pattern := range b.RuleFiles {
		files, err := l.source.glob(l.doc.Path(pattern.Value))
		switch {
		case pattern.Value == "":
			l.add(pattern.Place.Errorf("expected the name of a rule file, or a pattern such as rules/*.yml"))
			continue
		case err != nil:
			l.add(pattern.Place.Errorf("%q is no valid pattern", pattern.Value).WithHint("* matches within a name, ? one character, [a-z] one of a range"))
			continue
		case len(files) == 0:
			l.add(pattern.Place.Errorf("no rule file matches %s", l.doc.Path(pattern.Value)).WithHint("names are relative to the configuration file"))
		}
		for _, f := range files {
			if f = filepath.Clean(f); !seen[f] {
				seen[f] = true
				l.plan.RuleFiles = append(l.plan.RuleFiles, f)
			}
		}
	}
	set, problems := rules.Read(l.plan.RuleFiles, func(file string) ([]byte, error) {
		text, err := l.source.read(file)
		l.read[file] = text
		return text, err
	})
	l.problems = append(l.problems, problems...)
	for i, e := range set.Escalations {
		l.escalations = append(l.escalations, problem.At[oncall.Escalation]{Value: e, Place: set.EscalationAt[i]})
	}
	l.refs = append(l.refs, set.Refs...)
	set.Refs, set.EscalationAt = nil, nil
	l.plan.Rules = set
}

// withoutRuleFiles reports that rule_files names nothing, and where. A value of the wrong type has been
// reported already.
func (l *loading) withoutRuleFiles() (problem.Place, bool) {
	top := l.doc.Root.Content
	for i := 0; i+1 < len(top); i += 2 {
		if value := top[i+1]; top[i].Value == "rule_files" {
			return l.doc.At(top[i]), len(value.Content) == 0 && (value.Kind == yaml.SequenceNode || value.ShortTag() == "!!null")
		}
	}
	return l.doc.At(nil), true
}

// hash covers the configuration and the rule files, in order. Secrets are left out: a hash is shown.
func (l *loading) hash() string {
	h := sha256.New()
	for _, file := range append([]string{l.plan.File}, l.plan.RuleFiles...) {
		fmt.Fprintf(h, "%q %d\n", file, len(l.read[file]))
		h.Write(l.read[file])
	}
	return hex.EncodeToString(h.Sum(nil))
}
