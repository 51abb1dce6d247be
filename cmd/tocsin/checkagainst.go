package main

import (
	"context"
	"net/url"
	"time"

	"tocsin/config"
	"tocsin/oncall"
	"tocsin/problem"
)

// pointless asks a running tocsin for its overrides, and warns of those that would change nobody's time on call under
// a configuration: whoever made one relies on it, and the file alone does not know of it.
func pointless(ctx context.Context, address string, plan *config.Plan) (problem.List, error) {
	c, err := clientFlags{URL: address, Timeout: 30 * time.Second}.client()
	if err != nil {
		return nil, err
	}
	p := plan.Policy
	if _, err := c.do(ctx, "GET", "overrides", url.Values{}, nil, &p.Overrides); err != nil {
		return nil, err
	}
	before := map[string]bool{} // pointless as it is: no edit has made them so
	var views []rotaView
	if _, err := c.do(ctx, "GET", "schedules", nil, nil, &views); err != nil {
		return nil, err
	}
	now := time.Now()
	for _, v := range views {
		var full rotaView
		q := url.Values{"to": {now.Add(oncall.MaxOverride).UTC().Format(time.RFC3339)}}
		if _, err := c.do(ctx, "GET", "schedules/"+url.PathEscape(v.Name), q, nil, &full); err != nil {
			return nil, err
		}
		for _, x := range full.Pointless {
			before[x.Override.ID] = true
		}
	}
	var warnings problem.List
	for _, x := range p.PointlessOverrides(now) {
		if !before[x.Override.ID] {
			warnings = append(warnings, problem.Place{File: plan.File}.Warnf("the override %s of %s (%s) would change nothing: %s",
				x.Override.ID, x.Override.Schedule, printable(x.Override.String()), x.Why).
				WithHint("tocsin oncall override end %s, if it is not needed any more", x.Override.ID))
		}
	}
	return warnings, nil
}
