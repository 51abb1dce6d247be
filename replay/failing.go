package replay

import (
	"maps"
	"slices"
	"strings"

	"tocsin/oncall"
)

// AllOfSlack is the name under which Failing takes every message and direct message in Slack.
const AllOfSlack = "slack"

// Failing returns answers for a scenario in which some far ends fail: a receiver, a channel such as #alerts, a user
// (all of their contacts), or AllOfSlack. NAME does not answer and is tried again; NAME=refused says no for good. An
// error is for who wrote the names.
func Failing(p oncall.Policy, names []string) (func(oncall.Delivery) oncall.Outcome, error) {
	type failure struct {
		matches func(oncall.Delivery) bool
		outcome oncall.Outcome
	}
	var failures []failure
	for _, text := range names {
		name, how, _ := strings.Cut(text, "=")
		f := failure{outcome: oncall.OutcomeRetry}
		switch how {
		case "", "silent":
		case "refused":
			f.outcome = oncall.OutcomeRefused
		default:
			return nil, oncall.Errorf(oncall.CodeInvalid, "%q: expected a name, or name=refused", text)
		}
		var err error
		if f.matches, err = farEnd(p, name); err != nil {
			return nil, err
		}
		failures = append(failures, f)
	}
	return func(d oncall.Delivery) oncall.Outcome {
		for _, f := range failures {
			if f.matches(d) {
				return f.outcome
			}
		}
		return oncall.OutcomeDelivered
	}, nil
}

// farEnd says which deliveries go to what a name stands for.
func farEnd(p oncall.Policy, name string) (func(oncall.Delivery) bool, error) {
	if r, ok := p.Receivers[name]; ok {
		ends := slices.Clone(r.Endpoints)
		for _, i := range r.Integrations {
			ends = append(ends, i.Endpoint)
		}
		return func(d oncall.Delivery) bool { return slices.Contains(ends, d.Endpoint) }, nil
	}
	if _, ok := p.Users[name]; ok {
		return func(d oncall.Delivery) bool { return d.User == name }, nil
	}
	if name == AllOfSlack {
		return func(d oncall.Delivery) bool { return d.Endpoint.Kind() == "slack" }, nil
	}
	channels := channelsOf(p)
	if slices.Contains(channels, name) {
		return func(d oncall.Delivery) bool { return d.Endpoint == oncall.SlackEndpoint(name) }, nil
	}
	return nil, oncall.Errorf(oncall.CodeNotFound, "%q is no receiver, user or channel of this configuration", name)
}

// FarEnds returns the names that Failing knows.
func FarEnds(p oncall.Policy) []string {
	return slices.Concat(slices.Sorted(maps.Keys(p.Receivers)), slices.Sorted(maps.Keys(p.Users)), channelsOf(p), []string{AllOfSlack})
}

// channelsOf returns the Slack channels that tiers and contacts name.
func channelsOf(p oncall.Policy) (channels []string) {
	for _, e := range p.Escalations {
		for _, t := range e.Tiers {
			for _, x := range t.Targets {
				if x.Kind == oncall.TargetSlack {
					channels = append(channels, x.Name)
				}
			}
		}
	}
	for _, u := range p.Users {
		for _, c := range u.Contacts {
			if c.Slack != "" && c.Slack != "dm" {
				channels = append(channels, c.Slack)
			}
		}
	}
	slices.Sort(channels)
	return slices.Compact(channels)
}
