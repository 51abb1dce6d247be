package oncall

import (
	"maps"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"tocsin/problem"
)

// Promise is what an escalation promises: a person is reached within Within of the trigger, if deliveries succeed.
// Prove holds it against schedules, conditions and urgency. The zero value promises nothing.
type Promise struct {
	Within time.Duration `json:"within"`
	// Severity is that of the incidents for which it holds; "": of any, so that no condition on the severity may be
	// relied upon.
	Severity string `json:"severity,omitempty"`
}

type promiseBlock struct {
	Within   problem.At[time.Duration] `yaml:"within"`
	Severity problem.At[string]        `yaml:"severity"`
}

// decodePromise decodes promise: {within: 10m, severity: critical}.
func decodePromise(d *problem.Document, n *yaml.Node) (Promise, problem.List) {
	var b promiseBlock
	problems := d.Decode(n, &b)
	if len(problems) == 0 && b.Within.Value <= 0 {
		at := b.Within.Place
		if !b.Within.IsSet() {
			at = d.At(n)
		}
		problems = append(problems, at.Errorf("expected a duration above 0: within what time is a person reached?").
			WithHint("such as promise: {within: 10m, severity: critical}"))
	}
	if b.Within.Value > maxPromise {
		problems = append(problems, b.Within.Place.Errorf("within must be at most %s", short(maxPromise)))
	}
	return Promise{Within: b.Within.Value, Severity: b.Severity.Value}, problems
}

// maxPromise is the longest time that can be promised: what may take longer is no alarm.
const maxPromise = 7 * day

// Breach is a time in which an escalation does not keep its promise: of incidents triggered then, no person is reached
// within it.
type Breach struct {
	Escalation string `json:"escalation"`
	Period            // of the trigger; cut at what was asked about
	Tier       int    `json:"tier"` // the last one that is told within the promise, or would have been; -1: none
	Why        string `json:"why"`  // as of From
	// Labels are those of an alert, beside the severity of the promise, for which it is broken, as of From; nil where
	// none are needed. Where the promise names no severity and it matters, it is there, "" for none at all.
	Labels map[string]string `json:"labels,omitempty"`
	// Doubtful says that no alert was found of which all that Why asks for is so: there may be none.
	Doubtful bool `json:"doubtful,omitempty"`
	// Number is that of an incident for which it is broken, where it says who begins in a round robin; 0: of any.
	Number int64 `json:"number,omitempty"`
}

// Prove holds the promises of all escalations against what schedules, overrides, conditions and daytimes say, for
// triggers in [from, to), and returns where they are broken: by escalation, in order of time. It assumes that every
// delivery succeeds at once. Of an alert it knows the severity of the promise, and no other label: whatever conditions
// ask of others may be so or not. Of round robins whoever can begin counts.
// Of a low urgency with rounds, a contact rule that a round would cut short is not relied upon, though the machine may
// still run it where that round waits for daytime.
func Prove(p Policy, from, to time.Time) []Breach {
	var breaches []Breach
	known := newProver(p, from, to)
	for _, name := range slices.Sorted(maps.Keys(p.Escalations)) {
		if e := p.Escalations[name]; e.Promise.Within > 0 && from.Before(to) {
			breaches = append(breaches, known.prove(e)...)
		}
	}
	return breaches
}
