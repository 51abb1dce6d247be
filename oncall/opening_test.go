package oncall_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tocsin/oncall"
)

var openedAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestOpen refuses what would tell nobody, and says what to write instead.
func TestOpen(t *testing.T) {
	for _, c := range []struct {
		name string
		o    oncall.Opening
		want string // part of the error, "" for none
		code oncall.Code
	}{
		{"escalation", oncall.Opening{Escalation: "session", Title: "slow", Actor: "ana"}, "", ""},
		{"user", oncall.Opening{User: "bo", Title: "slow", Actor: "ana"}, "", ""},
		{"nobody", oncall.Opening{Title: "slow"}, "name an escalation or a user", oncall.CodeInvalid},
		{"both", oncall.Opening{Escalation: "session", User: "bo", Title: "slow"}, "not both", oncall.CodeInvalid},
		{"no title", oncall.Opening{Escalation: "session", Title: " \n"}, "needs a title", oncall.CodeInvalid},
		{"long title", oncall.Opening{Escalation: "session", Title: strings.Repeat("ä", 251)}, "at most 250 characters", oncall.CodeInvalid},
		{"long details", oncall.Opening{Escalation: "session", Title: "x", Details: strings.Repeat("x", 3001)}, "at most 3000 characters", oncall.CodeInvalid},
		{"no text", oncall.Opening{Escalation: "session", Title: "\xff"}, "UTF-8", oncall.CodeInvalid},
		{"severity", oncall.Opening{Escalation: "session", Title: "x", Severity: "a\nb"}, "no severity", oncall.CodeInvalid},
		{"misspelt escalation", oncall.Opening{Escalation: "sesion", Title: "x"}, `there is no escalation named "sesion" (did you mean "session"?)`, oncall.CodeNotFound},
		{"misspelt user", oncall.Opening{User: "anna", Title: "x"}, `there is no user named "anna" (did you mean "ana"?)`, oncall.CodeNotFound},
		{"out of reach", oncall.Opening{User: "ghost", Title: "x"}, "ghost cannot be reached", oncall.CodeInvalid},
	} {
		_, _, err := c.o.Open(openedAt, "request", testPolicy())
		if oncall.ErrorCode(err) != c.code || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v (%s), want %q (%s)", c.name, err, oncall.ErrorCode(err), c.want, c.code)
		}
	}
}

// TestOpenIsStable holds an opening to its promises: the place follows from the request alone, agrees with where the
// core would put the alert, and belongs to no other request.
func TestOpenIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := oncall.Opening{Escalation: "plain", Title: rapid.StringMatching(`[a-zé "{}]{0,40}x`).Draw(t, "title"), Actor: rapid.String().Draw(t, "actor"),
			Severity: rapid.SampledFrom([]string{"", "warning", "critical"}).Draw(t, "severity")}
		if rapid.Bool().Draw(t, "user") {
			o.User, o.Escalation = "ana", ""
		}
		request, other := rapid.String().Draw(t, "request"), rapid.String().Draw(t, "other")
		c, place, err := o.Open(openedAt, request, testPolicy())
		if err != nil {
			t.Fatal(err)
		}
		if by := oncall.PlaceAlert(c, testPolicy()); by.Escalation != place.Escalation || by.GroupKey != place.GroupKey {
			t.Fatalf("opened at %+v, and placed at %+v", place, by)
		}
		_, later, _ := o.Open(openedAt.Add(time.Hour), request, testPolicy())
		_, elsewhere, _ := o.Open(openedAt, other, testPolicy())
		if later.GroupKey != place.GroupKey || (elsewhere.GroupKey == place.GroupKey) != (other == request) {
			t.Fatal("the place does not follow from the request alone")
		}
	})
}

// TestDirectEscalation: a user who is paged by name and leaves the configuration is still told as before.
func TestDirectEscalation(t *testing.T) {
	p := testPolicy()
	if e, ok := p.Escalation("user ana"); !ok || len(e.Tiers) != 1 || e.Tiers[0].Targets[0].String() != "user ana" {
		t.Error(e, ok)
	}
	for _, name := range []string{"user ghost", "user nobody", "user", "ana", ""} {
		if _, ok := p.Escalation(name); ok {
			t.Errorf("%q is an escalation", name)
		}
	}
}

// TestSilenceOfOpened: there is no alert behind it that anybody could silence.
func TestSilenceOfOpened(t *testing.T) {
	_, place, err := oncall.Opening{Escalation: "plain", Title: "x", Actor: "ana"}.Open(openedAt, "r", testPolicy())
	if err != nil {
		t.Fatal(err)
	}
	_, err = oncall.SilenceOf(oncall.Incident{Number: 7, GroupLabels: place.GroupLabels}, oncall.SilenceWish{For: time.Hour, Comment: "x"}, openedAt)
	if err == nil || !strings.Contains(err.Error(), "#7 was opened by hand") {
		t.Error(err)
	}
}
