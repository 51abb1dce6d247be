package notifier_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tocsin/notifier"
	"tocsin/notifier/pager/pagertest"
	"tocsin/oncall"
)

// always is a far end that answers everything alike.
type always oncall.Attempt

// Send implements notifier.Sender.
func (a always) Send(context.Context, notifier.Message) oncall.Attempt {
	at := oncall.Attempt(a)
	at.At = time.Now()
	return at
}

// drillRig is a rig with three contacts of ana (one that works, one that refuses, one that never confirms) and one of bo.
func drillRig(t *testing.T, test func(*testing.T, *rig, *notifier.Drills)) {
	bubble(t, options{policy: func(p *oncall.Policy) {
		p.Receivers["broken"] = oncall.Receiver{Name: "broken", Endpoints: []oncall.Endpoint{"broken:ana/0"}}
		p.Receivers["call"] = oncall.Receiver{Name: "call", Endpoints: []oncall.Endpoint{"calls:ana/0"}}
		p.Users["ana"] = oncall.User{Name: "ana", Contacts: []oncall.Contact{{Receiver: "ana-phone"}, {After: time.Minute, Receiver: "broken"}, {After: time.Hour, Receiver: "call"}}}
		p.Users["bo"] = oncall.User{Name: "bo", Contacts: []oncall.Contact{{Receiver: "bo-phone"}}}
	}}, func(t *testing.T, r *rig) {
		d := notifier.NewDrills(notifier.DrillOptions{Store: r.store, Policy: func() oncall.Policy { return r.policy }})
		test(t, r, d)
	})
}

func (r *rig) answerOddly() {
	r.pager.Close()
	r.more = map[string]notifier.Sender{"broken": always{Outcome: oncall.OutcomeRefused, Status: 404}, "calls": always{Outcome: oncall.OutcomeAccepted, Status: 201}}
	r.apply(r.policy)
}

// TestDrill: all contacts are tried at once, nobody else is told, and what each did is kept.
func TestDrill(t *testing.T) {
	drillRig(t, func(t *testing.T, r *rig, d *notifier.Drills) {
		r.answerOddly()
		started, err := d.Start(t.Context(), notifier.DrillWish{Users: []string{"ana"}, Actor: "bo", Via: "api"}, "r1")
		if err != nil || len(started) != 1 || started[0].Number != 1 {
			t.Fatalf("%+v, %v", started, err)
		}
		r.pass(time.Second)
		r.wantKinds("ana-phone/0", "triggered")
		again, err := d.Start(t.Context(), notifier.DrillWish{Users: []string{"ana"}, Actor: "bo", Via: "api"}, "r1")
		if err != nil || again[0].Number != 1 {
			t.Errorf("the same request: %+v, %v", again, err)
		}
		if again, err := d.Start(t.Context(), notifier.DrillWish{Users: []string{"ana", "bo"}, Actor: "bo"}, ""); err != nil || !again[0].Later || again[1].Number != 2 {
			t.Errorf("while one is under way: %+v, %v", again, err)
		}
		if _, err := d.Start(t.Context(), notifier.DrillWish{Users: []string{"bo", "anna"}}, ""); oncall.ErrorCode(err) != oncall.CodeNotFound {
			t.Errorf("an unknown user: %v", err)
		}
		if all, err := r.acts.Incidents(t.Context(), oncall.IncidentFilter{}); err != nil || len(all) != 0 {
			t.Errorf("%d drills are listed as incidents, %v", len(all), err)
		}
		r.pass(oncall.DrillLasts)
		in, err := d.Drill(t.Context(), 1)
		if err != nil || in.Open() {
			t.Fatalf("%s, %v", in.State, err)
		}
		checks, err := d.Checks(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := map[oncall.Endpoint]string{}
		for _, c := range checks {
			got[c.Endpoint] = string(c.Result) + " " + c.Failure
		}
		for e, want := range map[oncall.Endpoint]string{"page:ana-phone/0": "ok ", "page:bo-phone/0": "ok ",
			"broken:ana/0": "failed refused with HTTP 404", "calls:ana/0": "failed taken, and not confirmed within 10m"} {
			if got[e] != want {
				t.Errorf("%s: %q, want %q", e, got[e], want)
			}
		}
		r.wantKinds("ana-phone/0", "triggered", "resolved")
		if soon, err := d.Start(t.Context(), notifier.DrillWish{Users: []string{"ana"}, Actor: "bo"}, ""); err != nil || soon[0].Number != 3 {
			t.Errorf("the next one: %+v, %v", soon, err)
		}
		p := r.policy
		p.Addresses = map[oncall.Endpoint]string{"broken:ana/0": "elsewhere"}
		r.policy = p
		if checks, err = d.Checks(t.Context()); err != nil || len(checks) != 3 {
			t.Errorf("a contact that leads elsewhere: %+v, %v", checks, err)
		}
		r.policy.Addresses = nil
	})
}

// TestDrillSurvivesAnEdit: a drill under way goes on with the contacts that it asked, says at once what an edit took away,
// and ends with what it found out, also of somebody who is not configured any more.
func TestDrillSurvivesAnEdit(t *testing.T) {
	drillRig(t, func(t *testing.T, r *rig, d *notifier.Drills) {
		r.answerOddly()
		if started, err := d.Start(t.Context(), notifier.DrillWish{Users: []string{"ana", "bo"}, Actor: "bo", Via: "api"}, ""); err != nil || len(started) != 2 {
			t.Fatalf("%+v, %v", started, err)
		}
		r.pass(10 * time.Second)
		p := r.policy
		p.Users = map[string]oncall.User{"bo": {Name: "bo", Contacts: []oncall.Contact{{Receiver: "ana-phone"}}}}
		r.apply(p)
		r.pass(2 * time.Second)
		const gone = "the escalation drill ana is not there any more"
		drill := func(number int64) (oncall.Incident, string) {
			t.Helper()
			in, err := d.Drill(t.Context(), number)
			if err != nil {
				t.Fatal(err)
			}
			var story strings.Builder
			for _, e := range in.Timeline {
				story.WriteString(e.Text + "\n")
			}
			return in, story.String()
		}
		in, story := drill(1)
		if !in.Open() || !strings.Contains(story, gone) {
			t.Errorf("two seconds after the edit: %s\n%s", in.State, story)
		}
		r.pass(oncall.DrillLasts)
		in, story = drill(1)
		if in.Open() || strings.Count(story, gone) != 1 || !strings.Contains(story, "2 of 3 contacts failed") || len(in.Drill.Contacts) != 3 {
			t.Errorf("%s, %+v\n%s", in.State, in.Drill.Contacts, story)
		}
		in, story = drill(2)
		if in.Open() || len(in.Drill.Contacts) != 1 || in.Drill.Contacts[0].Endpoint != "page:bo-phone/0" || in.Drill.Contacts[0].Result != oncall.CheckOK {
			t.Errorf("%s, %+v\n%s", in.State, in.Drill.Contacts, story)
		}
		r.wantKinds("bo-phone/0", "triggered", "resolved")
	})
}

// TestDrillMeets410: an endpoint that is gone in a drill has failed that, and is asked all the same by the next real page.
// What a drill sends is counted apart.
func TestDrillMeets410(t *testing.T) {
	metrics := prometheus.NewRegistry()
	bubble(t, options{metrics: metrics}, func(t *testing.T, r *rig) {
		d := notifier.NewDrills(notifier.DrillOptions{Store: r.store, Policy: func() oncall.Policy { return r.policy }})
		drill := func() oncall.ContactCheck {
			t.Helper()
			started, err := d.Start(t.Context(), notifier.DrillWish{Users: []string{"ana"}, Actor: "bo", Via: "api"}, "")
			if err != nil || started[0].Number == 0 {
				t.Fatalf("%+v, %v", started, err)
			}
			r.pass(time.Second)
			in, err := d.Drill(t.Context(), started[0].Number)
			if err != nil {
				t.Fatal(err)
			}
			return in.Drill.Contacts[0]
		}
		gone := true
		r.far.FailWith(func(pagertest.Page) pagertest.Fault {
			if gone {
				return pagertest.Gone
			}
			return pagertest.Fault{}
		})
		if c := drill(); c.Result != oncall.CheckFailed || !strings.Contains(c.Failure, "410") {
			t.Errorf("%+v", c)
		}
		gone = false
		r.fire("shop")
		r.pass(time.Second)
		r.wantKinds("ana-phone/0", "triggered")
		gone = true
		r.fire("cart")
		r.pass(time.Minute)
		gone = false
		if c := drill(); !strings.Contains(c.Failure, "until the next reload") { // as a real page would find it
			t.Errorf("%+v", c)
		}
		if err := testutil.GatherAndCompare(metrics, strings.NewReader(`
# HELP tocsin_drill_attempts_total Attempts to deliver in drills, by kind of endpoint and what the far end made of them.
# TYPE tocsin_drill_attempts_total counter
tocsin_drill_attempts_total{endpoint="page",outcome="gone"} 1
tocsin_drill_attempts_total{endpoint="page",outcome="refused"} 1
`), "tocsin_drill_attempts_total"); err != nil {
			t.Error(err)
		}
		if n, err := testutil.GatherAndCount(metrics, "tocsin_delivery_attempt_seconds"); err != nil || n != 2 { // of Slack and the page
			t.Errorf("%d, %v", n, err)
		}
	})
}

// TestDrillJob: each instant is done once over restarts, and who is in an incident is drilled later.
func TestDrillJob(t *testing.T) {
	drillRig(t, func(t *testing.T, r *rig, d *notifier.Drills) {
		cron, err := oncall.ParseCron("10 * * * *")
		if err != nil {
			t.Fatal(err)
		}
		r.answerOddly()
		run := func() (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			var ended sync.WaitGroup
			other := notifier.NewDrills(notifier.DrillOptions{Store: r.store, Policy: func() oncall.Policy { return r.policy }})
			other.Apply([]oncall.Job{{Name: "hourly", Cron: cron, TimeZone: time.UTC, Drill: oncall.DrillJob{All: true}}}, nil)
			ended.Go(func() {
				if err := other.Run(ctx, r.lease); err != nil {
					t.Error(err)
				}
			})
			return func() { cancel(); ended.Wait() }
		}
		drills := func() (users []string) {
			all, err := d.List(t.Context(), 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, in := range all {
				users = append(users, in.Drill.User)
			}
			return users
		}
		stop := run() // it is midnight
		r.pass(5 * time.Minute)
		r.fire("shop")
		r.pass(4 * time.Minute)
		if got := drills(); len(got) != 0 {
			t.Errorf("before it is due: %v", got)
		}
		r.pass(2 * time.Minute)
		if got := strings.Join(drills(), " "); got != "bo" { // ana has an incident
			t.Errorf("when it is due: %q", got)
		}
		stop()
		stop = run()
		r.pass(20 * time.Minute)
		if got := strings.Join(drills(), " "); got != "bo" {
			t.Errorf("after a restart: %q", got)
		}
		r.change(oncall.ChangeResolved, "shop")
		r.pass(2 * time.Minute)
		if got := strings.Join(drills(), " "); got != "ana bo" {
			t.Errorf("after the incident: %q", got)
		}
		stop()
		r.pass(time.Hour) // the next instant passes while nobody runs it
		stop = run()
		defer stop()
		r.pass(time.Minute)
		if got := drills(); len(got) != 4 {
			t.Errorf("what was missed: %v", got)
		}
	})
}
