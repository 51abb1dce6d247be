package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"tocsin/config"
	"tocsin/oncall"
	"tocsin/problem"
)

// running is a tocsin that a configuration is held against before it is loaded.
type running struct {
	*client
	overrides []oncall.Override // all that it keeps, those that are over too
}

// against asks a running tocsin for its overrides: the file alone does not know of them.
func against(ctx context.Context, address string) (r running, err error) {
	if r.client, err = (clientFlags{URL: address, Timeout: 30 * time.Second}).client(); err == nil {
		_, err = r.do(ctx, "GET", "overrides", url.Values{"all": {"true"}}, nil, &r.overrides)
	}
	if err != nil {
		return r, fmt.Errorf("--against: %w", err)
	}
	return r, nil
}

// edited warns of what a configuration would change by mistake: overrides that would change nobody's time on call,
// because whoever made one relies on it, and who was on call.
func (r running) edited(ctx context.Context, plan *config.Plan) (problem.List, error) {
	var views []rotaView
	if _, err := r.do(ctx, "GET", "schedules", nil, nil, &views); err != nil {
		return nil, fmt.Errorf("--against: %w", err)
	}
	now := time.Now().Truncate(time.Second)
	var warnings problem.List
	before := map[string]bool{} // pointless as it is: no edit has made them so
	for _, v := range views {
		ahead, err := r.rota(ctx, v.Name, now, now.Add(oncall.MaxOverride))
		if err != nil {
			return nil, err
		}
		for _, x := range ahead.Pointless {
			before[x.Override.ID] = true
		}
		s, ok := plan.Policy.Schedules[v.Name]
		if !ok {
			continue
		}
		past, err := r.rota(ctx, v.Name, now.Add(-historyChecked), now)
		if err != nil {
			return nil, err
		}
		is, was, ok := oncall.FirstDifference(s.Shifts(plan.Policy.Overrides, now.Add(-historyChecked), now), past.Shifts)
		if ok {
			warnings = append(warnings, rewritten(plan.File, v.Name, was, is))
		}
	}
	for _, x := range plan.Policy.PointlessOverrides(now) {
		if !before[x.Override.ID] {
			warnings = append(warnings, problem.Place{File: plan.File}.Warnf("the override %s of %s (%s) would change nothing: %s",
				x.Override.ID, x.Override.Schedule, printable(x.Override.String()), x.Why).
				WithHint("tocsin oncall override end %s, if it is not needed any more", x.Override.ID))
		}
	}
	failed, err := r.failedContacts(ctx)
	if err != nil {
		return nil, fmt.Errorf("--against: %w", err)
	}
	for _, x := range failed {
		if _, ok := plan.Policy.Users[x.User]; ok {
			warnings = append(warnings, problem.Place{File: plan.File}.Warnf("%s", printable(x.String())).
				WithHint("mend the contact, then: tocsin drill --user %s", x.User))
		}
	}
	return warnings, nil
}

// rota asks who is on call by a schedule in [from, to).
func (r running) rota(ctx context.Context, schedule string, from, to time.Time) (v rotaView, err error) {
	q := url.Values{"from": {from.UTC().Format(time.RFC3339)}, "to": {to.UTC().Format(time.RFC3339)}}
	if _, err = r.do(ctx, "GET", "schedules/"+url.PathEscape(schedule), q, nil, &v); err != nil {
		err = fmt.Errorf("--against: %w", err)
	}
	return v, err
}

func rewritten(file, schedule string, was, is oncall.Shift) problem.Problem {
	return problem.Place{File: file}.Warnf("schedule %q would rewrite who was on call, and may give the turn to others: on %s it was %s, and would be %s",
		schedule, is.From.Format("Mon 2 Jan 2006 15:04 MST"), printable(was.Who()), printable(is.Who())).
		WithHint("keep users as they were, and list what changes below: changes: [{effective_from: …, users: […]}]")
}
