package notifier

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

const (
	maxTransitions = 1000               // read for one explanation
	maxSteps       = 8                  // shown of one alert
	stepsBefore    = 7 * 24 * time.Hour // how long before the trigger an alert's pending time may have begun
)

// Explanation is why an incident happened and what was done about it, from what is stored. The own API
// shows it as JSON; Text is the same for a person.
type Explanation struct {
	At       time.Time           `json:"at"` // when it was asked for
	Incident oncall.IncidentView `json:"incident"`
	Alerts   []ExplainedAlert    `json:"alerts"` // in the order of Incident.Alerts
}

// ExplainedAlert is the record of one alert.
type ExplainedAlert struct {
	Fingerprint oncall.Fingerprint  `json:"fingerprint"`
	Transitions []oncall.Transition `json:"transitions"` // the last few of this incident, oldest first; may be empty
}

// Why explains an incident to somebody who was woken by it: what fired, why it came here, who was told and
// what the far ends answered, what people did, and what happens next.
func (a *Acts) Why(ctx context.Context, number int64) (string, error) {
	e, err := a.WhyData(ctx, number)
	if err != nil {
		return "", err
	}
	return e.Text(), nil
}

// WhyData is Why's explanation as data. Without the record of transitions it is still given: the evidence
// of each alert's last change is part of the incident.
func (a *Acts) WhyData(ctx context.Context, number int64) (Explanation, error) {
	in, err := a.Incident(ctx, number)
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{At: time.Now(), Incident: oncall.View(in, a.o.Policy().ExternalURL)}
	e.Alerts = a.record(ctx, in, e.At)
	return e, nil
}

// record finds the transitions of the incident's alerts. An alert was evaluated without the external
// labels that it carries in the incident, so both of its label sets are looked for.
func (a *Acts) record(ctx context.Context, in oncall.Incident, now time.Time) []ExplainedAlert {
	explained := make([]ExplainedAlert, len(in.Alerts))
	of := map[oncall.Fingerprint][]int{}
	for i, alert := range in.Alerts {
		explained[i] = ExplainedAlert{Fingerprint: alert.Fingerprint, Transitions: []oncall.Transition{}}
		of[alert.Fingerprint] = append(of[alert.Fingerprint], i)
		if bare := oncall.FingerprintOf(a.evaluated(alert.Labels)); bare != alert.Fingerprint {
			of[bare] = append(of[bare], i)
		}
	}
	if a.o.Transitions == nil || len(of) == 0 {
		return explained
	}
	fingerprints := make([]oncall.Fingerprint, 0, len(of))
	for fp := range of {
		fingerprints = append(fingerprints, fp)
	}
	slices.Sort(fingerprints)
	to := now
	if !in.ResolvedAt.IsZero() && in.ResolvedBy == "" {
		to = in.ResolvedAt
	}
	steps, err := a.o.Transitions(ctx, fingerprints, in.TriggeredAt.Add(-stepsBefore), to.Add(time.Second), maxTransitions) // the last instant included
	if err != nil {
		a.log.WarnContext(ctx, "the record of alerts could not be read; the explanation goes without it", "incident", in.Number, "err", err)
		return explained
	}
	for _, t := range steps {
		for _, i := range of[t.Fingerprint] {
			explained[i].Transitions = append(explained[i].Transitions, t)
		}
	}
	for i := range explained {
		explained[i].Transitions = thisTime(explained[i].Transitions, in.Alerts[i].StartsAt)
	}
	return explained
}

// evaluated returns an alert's labels as its rule yielded them.
func (a *Acts) evaluated(ls labels.Labels) labels.Labels {
	if a.o.ExternalLabels == nil {
		return ls
	}
	b := labels.NewBuilder(ls)
	a.o.ExternalLabels().Range(func(l labels.Label) {
		if ls.Get(l.Name) == l.Value {
			b.Del(l.Name)
		}
	})
	return b.Labels()
}

// thisTime leaves out what an alert did before it last became pending ahead of its start, and keeps the
// last few steps.
func thisTime(ts []oncall.Transition, startsAt time.Time) []oncall.Transition {
	from := 0
	for i, t := range ts {
		if t.From == oncall.StateInactive && !t.At.After(startsAt) {
			from = i
		}
	}
	ts = ts[from:]
	return ts[max(0, len(ts)-maxSteps):]
}
