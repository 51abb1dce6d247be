package oncall_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/oncall"
)

// TestDrillTranscripts runs testdata/drill/*.txt: lines as in TestTranscripts, and "drill USER", by bo.
func TestDrillTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/drill/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got := replayDrill(t, string(want))
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s differs (-want +got); -update rewrites it:\n%s", file, diff)
		}
	}
}

func replayDrill(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	s := newSim(testPolicy(), "session")
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "#") {
			out.WriteString(line + "\n")
		}
		if !strings.HasPrefix(line, "> ") {
			continue
		}
		s.out.Reset()
		if user, ok := strings.CutPrefix(line, "> drill "); ok {
			s.drill(t, user)
		} else {
			runLine(t, s, strings.Fields(line[2:]))
		}
		in := s.subject()
		out.WriteString("\n" + line + "\n" + s.out.String() + "  = #" + stateLine(in) + "\n")
		for _, c := range in.Drill.Contacts {
			out.WriteString("  | " + checkLine(c) + "\n")
		}
		if s.problem != "" {
			t.Fatalf("at %q: %s", line, s.problem)
		}
	}
	return out.String()
}

// drill begins a drill as the notifier does.
func (s *sim) drill(t *testing.T, user string) *oncall.Incident {
	t.Helper()
	c, place, d, err := oncall.DrillOpening{User: user, Actor: "bo", Via: "api"}.Open(s.now, s.policy)
	if err != nil {
		t.Fatal(err)
	}
	in := s.placed(c, oncall.FingerprintOf(c.Labels))
	if in.Open() || in.Escalation != place.Escalation || in.GroupKey != place.GroupKey {
		t.Fatalf("the drill is placed at %s %s, want %+v", in.Escalation, in.GroupKey, place)
	}
	in.Drill = d
	s.apply(in, oncall.AlertsChanged{Changes: []oncall.AlertChange{c}})
	return in
}

func checkLine(c oncall.ContactCheck) string {
	line := fmt.Sprintf("%s, %s: %s", c.Contact, c.Endpoint, c.Result)
	for _, x := range []struct {
		what string
		at   time.Time
	}{{"accepted", c.AcceptedAt}, {"confirmed", c.ConfirmedAt}, {"answered", c.AnsweredAt}} {
		if !x.at.IsZero() {
			line += fmt.Sprintf(", %s after %s", x.what, x.at.Sub(c.At))
		}
	}
	if c.Failure != "" {
		line += "; " + c.Failure
	}
	return line
}

// TestDrillKeeps: what a drill found out is handed over once it has ended, and no other person is ever told.
func TestDrillKeeps(t *testing.T) {
	s := newSim(testPolicy(), "session")
	s.policy.Addresses = map[oncall.Endpoint]string{"page:ana-phone/0": "one"}
	in := s.drill(t, "ana")
	s.finish(func(d oncall.Delivery) bool { return d.Endpoint.Kind() == "slack" }, oncall.OutcomeDelivered, 200)
	s.finish(func(d oncall.Delivery) bool { return d.Endpoint.Kind() == "page" }, oncall.OutcomeRefused, 404)
	for _, d := range in.Deliveries {
		if d.User != "ana" {
			t.Errorf("%s goes to %q", d.Endpoint, d.User)
		}
		if d.Kind == oncall.KindTriggered && (!strings.Contains(string(d.Body), `"test":true`) || !strings.Contains(string(d.Body), `"drill":true`) || !strings.Contains(string(d.Body), `"title":"DRILL: `)) {
			t.Errorf("not marked: %s", d.Body)
		}
	}
	s.now = s.now.Add(oncall.DrillLasts)
	d := oncall.Decide(s.now, *in, oncall.Tick{}, s.policy)
	if len(d.Checks) != 2 || d.Checks[0].Result != oncall.CheckOK || d.Checks[1].Result != oncall.CheckFailed || d.Incident.State != oncall.IncidentResolved {
		t.Fatalf("%+v", d.Checks)
	}
	failed := s.policy.FailedChecks(d.Checks, "ana")
	if len(failed) != 1 || !strings.Contains(failed[0].String(), "receiver ana-phone (page:ana-phone/0) failed in the drill #1 of 23 Sep 2024 13:00 UTC: refused with HTTP 404") {
		t.Errorf("%v", failed)
	}
	if other := s.policy.FailedChecks(d.Checks, "bo"); len(other) != 0 {
		t.Errorf("%v", other)
	}
	s.policy.Addresses = map[oncall.Endpoint]string{"page:ana-phone/0": "another"}
	if failed := s.policy.FailedChecks(d.Checks); len(failed) != 0 {
		t.Errorf("the contact leads elsewhere, and still has %v", failed)
	}
}

// TestDrillAnswers: an answer counts for the contact that it came by, and the drill ends when all have one.
func TestDrillAnswers(t *testing.T) {
	s := newSim(testPolicy(), "session")
	in := s.drill(t, "ana")
	s.finish(func(oncall.Delivery) bool { return true }, oncall.OutcomeDelivered, 200)
	ack := oncall.Command{Kind: oncall.CmdAcknowledge, Actor: "ana", Via: "link", Delivery: in.Drill.Contacts[1].Key}
	s.apply(in, ack)
	if in.Drill.Contacts[1].AnsweredAt.IsZero() || !in.Drill.Contacts[0].AnsweredAt.IsZero() || !in.Open() {
		t.Errorf("%+v", in.Drill)
	}
	if d := s.apply(in, ack); !strings.Contains(d.Reply, "on record already") {
		t.Errorf("%+v", d)
	}
	for _, kind := range []oncall.CommandKind{oncall.CmdSnooze, oncall.CmdEscalate, oncall.CmdAssign, oncall.CmdMerge, oncall.CmdAddResponder, oncall.CmdUnacknowledge} {
		if d := s.apply(in, oncall.Command{Kind: kind, Actor: "ana", User: "bo", Into: 7}); !d.Refused {
			t.Errorf("%s is possible: %s", kind, d.Reply)
		}
	}
	s.apply(in, oncall.Command{Kind: oncall.CmdAcknowledge, Actor: "ana", Via: "slack"})
	if in.Open() || in.ResolvedBy != "" {
		t.Errorf("%s by %q", in.State, in.ResolvedBy)
	}
	if d := s.apply(in, oncall.Command{Kind: oncall.CmdAcknowledge, Actor: "ana", Via: "slack"}); !d.Refused {
		t.Errorf("%+v", d)
	}
}

// TestJobTurn: each instant is done once, what was missed is done within a day, and a new job begins now.
func TestJobTurn(t *testing.T) {
	cron, err := oncall.ParseCron("30 2 * * *")
	if err != nil {
		t.Fatal(err)
	}
	madrid, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	j := oncall.Job{Name: "daily", Cron: cron, TimeZone: madrid, Drill: oncall.DrillJob{Users: []string{"bo", "ana", "bo"}}}
	at := func(s string) time.Time {
		v, err := time.ParseInLocation("2006-01-02T15:04", s, madrid)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	st, changed, _ := j.Turn(oncall.JobState{}, at("2026-03-27T12:00"), testPolicy())
	if !changed || len(st.Waiting) != 0 {
		t.Fatalf("a new job: %+v", st)
	}
	for _, c := range []struct {
		now, due string // "": nothing
		skipped  bool
	}{
		{"2026-03-27T23:00", "", false},
		{"2026-03-28T02:29", "", false},
		{"2026-03-28T02:30", "2026-03-28T02:30", false},
		{"2026-03-28T02:31", "", false},
		{"2026-03-29T01:59", "", false},
		{"2026-03-29T03:00", "2026-03-29T03:00", false}, // the clocks skip half past two
		{"2026-03-29T03:30", "", false},
		{"2026-04-05T12:00", "2026-04-05T02:30", false}, // one run for many that were missed
		{"2026-04-06T02:30", "2026-04-06T02:30", false},
		{"2026-10-25T01:00", "2026-10-24T02:30", false},
		{"2026-10-25T12:00", "2026-10-25T02:30", false}, // shown twice, due once
		{"2026-10-26T02:30", "2026-10-26T02:30", false},
	} {
		next, changed, skipped := j.Turn(st, at(c.now), testPolicy())
		if changed != (c.due != "") || skipped.IsZero() == c.skipped {
			t.Errorf("%s: %+v, %v, %v", c.now, next, changed, skipped)
		}
		if c.due != "" && (next.Due.In(madrid).Format("2006-01-02T15:04") != c.due || len(next.Waiting) != 2 || next.Waiting[0].User != "ana") {
			t.Errorf("%s: %+v, want %s", c.now, next, c.due)
		}
		next.Waiting = nil
		st = next
	}
	weekly := j
	weekly.Cron, _ = oncall.ParseCron("30 2 * * MON")
	if next, changed, _ := weekly.Turn(st, at("2026-10-27T12:00"), testPolicy()); !changed || len(next.Waiting) != 0 {
		t.Errorf("another time: %+v", next)
	}
	monthly := weekly
	st, _, _ = monthly.Turn(oncall.JobState{}, at("2026-11-01T12:00"), testPolicy())
	if next, _, skipped := monthly.Turn(st, at("2026-11-04T12:00"), testPolicy()); len(next.Waiting) != 0 || skipped.IsZero() {
		t.Errorf("late by two days: %+v, skipped %v", next, skipped)
	}
	if next := monthly.Next(at("2026-11-04T12:00")); !next.Equal(at("2026-11-09T02:30")) {
		t.Errorf("next %v", next)
	}
}

// TestDrillAnsweredAfterAFailure: who answers by the very page that was reported as not arrived did get it.
func TestDrillAnsweredAfterAFailure(t *testing.T) {
	s := newSim(testPolicy(), "session")
	in := s.drill(t, "ana")
	s.finish(func(d oncall.Delivery) bool { return d.Endpoint.Kind() == "page" }, oncall.OutcomeRefused, 404)
	key := func() (key string) {
		for _, c := range in.Drill.Contacts {
			if c.Endpoint.Kind() == "page" {
				key = c.Key
			}
		}
		return key
	}()
	for _, by := range []string{"", key} { // an answer from elsewhere says nothing about it
		s.apply(in, oncall.Command{Kind: oncall.CmdAcknowledge, Actor: "ana", Delivery: by, Via: "api"})
		for _, c := range in.Drill.Contacts {
			if answered := !c.AnsweredAt.IsZero(); c.Key == key && (answered != (by == key) || answered == c.Refused) {
				t.Errorf("answered by %q: %s", by, checkLine(c))
			}
		}
	}
}

// TestDrillFailureWords: what a sender says of a refusal is not said to be one twice.
func TestDrillFailureWords(t *testing.T) {
	for said, want := range map[string]string{
		"refused with 404 Not Found": "refused with 404 Not Found",
		"is_archived":                "refused: is_archived",
		"":                           "refused with HTTP 404",
	} {
		s := newSim(testPolicy(), "session")
		in := s.drill(t, "ana")
		key := in.Drill.Contacts[1].Key
		d := oncall.Decide(s.now, *in, oncall.DeliveryFinished{Key: key, State: oncall.DeliveryRefused,
			Attempt: oncall.Attempt{At: s.now, Number: 1, Outcome: oncall.OutcomeRefused, Status: 404, Error: said}}, s.policy)
		if got := d.Incident.Drill.Contacts[1].Failure; got != want {
			t.Errorf("after %q: %q, want %q", said, got, want)
		}
	}
}
