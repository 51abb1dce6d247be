package web

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// drilling knows one drill of ana, in which one contact failed.
type drilling struct{}

var drilledAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func drillChecks() []oncall.ContactCheck {
	return []oncall.ContactCheck{
		{User: "ana", Contact: "receiver phone", Endpoint: "page:phone/0", Drill: 42, Key: "msg_1", At: drilledAt, Result: oncall.CheckFailed, Refused: true, Failure: "refused with HTTP 404 <b>"},
		{User: "ana", Contact: "Slack direct message", Endpoint: "slack:U02ANA", Drill: 42, At: drilledAt, Result: oncall.CheckOK, Taken: true,
			AcceptedAt: drilledAt.Add(time.Second), AnsweredAt: drilledAt.Add(time.Minute)},
	}
}

func (drilling) Start(_ context.Context, w notifier.DrillWish, _ string) (all []notifier.DrillStarted, err error) {
	for _, u := range w.Users {
		switch u {
		case "ana":
			all = append(all, notifier.DrillStarted{User: u, Number: 42})
		case "bo":
			all = append(all, notifier.DrillStarted{User: u, Refused: "a drill of bo is under way: #41", Later: true})
		default:
			return nil, oncall.Errorf(oncall.CodeNotFound, "there is no user named %q", u)
		}
	}
	return all, nil
}

func (d drilling) List(ctx context.Context, _ int64, _ int) ([]oncall.Incident, error) {
	in, err := d.Drill(ctx, 42)
	return []oncall.Incident{in}, err
}

func (drilling) Drill(_ context.Context, number int64) (oncall.Incident, error) {
	if number != 42 {
		return oncall.Incident{}, oncall.Errorf(oncall.CodeNotFound, "there is no drill #%d", number)
	}
	return oncall.Incident{Number: 42, State: oncall.IncidentResolved, TriggeredAt: drilledAt, ResolvedAt: drilledAt.Add(time.Hour),
		Drill: &oncall.Drill{User: "ana", By: "bo", Contacts: drillChecks()}}, nil
}

func (drilling) Checks(context.Context) ([]oncall.ContactCheck, error) { return drillChecks(), nil }

func TestDrillPage(t *testing.T) {
	m := newMemory()
	h := site(t, m, func(o *Options) { o.Drills = drilling{} }).Handler()
	for _, c := range []struct {
		method, form, want string
		status             int
	}{
		{"GET", "", "#42 ana", 200},
		{"GET", "", "1 failed", 200},
		{"GET", "", "1 contact would not reach its owner", 200},
		{"GET", "", "What to do:", 200},
		{"POST", "drilled=ana&user=bo", "The drill #42 of ana has begun", 200},
		{"POST", "drilled=bo&user=bo", "under way: #41", 409},
		{"POST", "drilled=zed", "there is no user named", 400},
		{"POST", "", "Choose a user", 400},
	} {
		got := ask(h, c.method, "/drills", c.form, "Content-Type", "application/x-www-form-urlencoded")
		if got.Code != c.status || !strings.Contains(got.Body.String(), c.want) {
			t.Errorf("%s %q: %d, want %d with %q:\n%s", c.method, c.form, got.Code, c.status, c.want, got.Body)
		}
	}
	if strings.Contains(ask(h, "GET", "/drills", "").Body.String(), "http-equiv") {
		t.Error("the page loads itself again while nothing changes, and takes away what is typed")
	}
	if got := ask(site(t, newMemory(), nil).Handler(), "GET", "/drills", ""); got.Code != http.StatusServiceUnavailable {
		t.Errorf("without drills: %d", got.Code)
	}
}

// underWay is drilling while a drill of ana has heard of one contact alone.
type underWay struct{ drilling }

func (underWay) Checks(context.Context) ([]oncall.ContactCheck, error) { return nil, nil }

func (u underWay) List(ctx context.Context, _ int64, _ int) ([]oncall.Incident, error) {
	in, err := u.Drill(ctx, 42)
	in.State, in.ResolvedAt = oncall.IncidentTriggered, time.Time{}
	in.Drill.Contacts[0].Result = ""
	in.Drill.Contacts[1] = oncall.ContactCheck{User: "ana", Contact: "Slack direct message", Endpoint: "slack:U02ANA", Drill: 42, At: drilledAt}
	return []oncall.Incident{in}, err
}

// TestDrillPageUnderWay: what a drill has found out shows before it is over.
func TestDrillPageUnderWay(t *testing.T) {
	policy := oncall.Policy{
		Receivers: map[string]oncall.Receiver{"phone": {Name: "phone", Endpoints: []oncall.Endpoint{"page:phone/0"}}},
		Users:     map[string]oncall.User{"ana": {Name: "ana", Slack: "U02ANA", Contacts: []oncall.Contact{{Receiver: "phone"}, {Slack: "dm"}}}},
	}
	h := site(t, newMemory(), func(o *Options) {
		o.Drills, o.Policy = underWay{}, func() oncall.Policy { return policy }
	}).Handler()
	got := ask(h, "GET", "/drills", "").Body.String()
	for _, want := range []string{"1 contact would not reach its owner", "HTTP 404", `<span class="badge queued">under way</span>`, "1 of 2 failed", `http-equiv="refresh"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing:\n%s", want, got)
		}
	}
	if strings.Contains(got, "never") {
		t.Errorf("a contact that is being tried was never tried:\n%s", got)
	}
}
