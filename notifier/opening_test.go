package notifier_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// TestOpenByHand: what a person opens is told at once, once for each request, and ends when a person ends it.
func TestOpenByHand(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		acts := notifier.NewActs(notifier.ActOptions{Store: r.store, Openings: r.store, Policy: func() oncall.Policy { return r.policy }})
		o := oncall.Opening{User: "ana", Title: "The queue is stuck", Actor: "bo", Via: "slack"}
		done, err := acts.Open(t.Context(), o, "request 1")
		if err != nil || !done.New || done.Incident.Title != o.Title || done.Reply != "#1 is opened, and ana is paged" {
			t.Fatalf("%+v, %v", done, err)
		}
		r.pass(time.Second)
		if got := r.entries(1, oncall.EntryNotified); len(got) == 0 || !strings.Contains(got[0], "user ana") {
			t.Errorf("notified %q", got)
		}
		again, err := acts.Open(t.Context(), o, "request 1")
		if err != nil || again.New || again.Incident.Number != 1 {
			t.Errorf("the same request: %+v, %v", again, err)
		}
		o.User, o.Escalation = "", "no such"
		if _, err := acts.Open(t.Context(), o, "request 2"); oncall.ErrorCode(err) != oncall.CodeNotFound {
			t.Error(err)
		}
		o.User, o.Escalation = "", slices.Sorted(maps.Keys(r.policy.Escalations))[0]
		if _, err := acts.Open(t.Context(), o, "request 1"); oncall.ErrorCode(err) != oncall.CodeConflict {
			t.Errorf("the request of something else: %v", err)
		}
		if _, err := acts.Act(t.Context(), 1, oncall.Command{Kind: oncall.CmdResolve, Actor: "ana"}, ""); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Hour)
		if in := r.incident(1); in.Open() || in.Alerts[0].State != oncall.StateResolved {
			t.Errorf("%+v", in)
		}
		if all, err := acts.Incidents(t.Context(), oncall.IncidentFilter{}); err != nil || len(all) != 1 {
			t.Errorf("%d incidents, %v", len(all), err)
		}
		other, err := acts.Open(t.Context(), o, "")
		if err != nil || other.Incident.Number != 2 {
			t.Errorf("%+v, %v", other, err)
		}
	})
}
