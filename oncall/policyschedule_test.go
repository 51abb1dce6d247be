package oncall

import (
	"strings"
	"testing"
	"time"
)

func TestPolicyOnCall(t *testing.T) {
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	p := Policy{
		Users: map[string]User{"ana": {Name: "ana"}, "bo": {Name: "bo"}},
		Schedules: map[string]Schedule{"primary": {Name: "primary", Layers: []Layer{{Name: "weekly", Rosters: []Roster{{
			From: at.AddDate(0, 0, -7), Users: [][]string{{"ana"}, {"bo"}}, Rotation: Rotation{Every: 7 * day, Anchor: at.AddDate(0, 0, -7)},
		}}}}}},
		Overrides: []Override{
			{ID: "1", Schedule: "primary", Kind: OverrideReplace, User: "ana", Replaces: "bo", From: at, To: at.Add(time.Hour), Author: "dee", Reason: "dentist"},
			{ID: "2", Schedule: "gone", Kind: OverrideAdd, User: "bo", From: at, To: at.Add(time.Hour)},
			{ID: "3", Schedule: "primary", Kind: OverrideRemove, User: "ana", From: at.Add(2 * time.Hour), To: at.Add(3 * time.Hour)},
			{ID: "4", Schedule: "primary", Kind: OverrideAdd, User: "cy", From: at.Add(2 * time.Hour), To: at.Add(3 * time.Hour)},
			{ID: "5", Schedule: "gone", Kind: OverrideAdd, User: "bo", From: at.Add(-time.Hour), To: at},
		},
	}
	for _, c := range []struct {
		schedule  string
		after     time.Duration
		who, why  string
		shiftEnds time.Duration
	}{
		{"primary", -time.Second, "ana", "layer weekly", 0},
		{"primary", 0, "ana", "layer weekly; ana instead of bo (by dee: dentist)", time.Hour},
		{"primary", time.Hour, "bo", "layer weekly", 2 * time.Hour},
		{"gone", 0, "nobody", `there is no schedule "gone" any more`, 0},
	} {
		users, why := p.OnCall(c.schedule, at.Add(c.after))
		if who := (Shift{Users: users}).Who(); who != c.who || why != c.why {
			t.Errorf("%s after %s: %s, %s; want %s, %s", c.schedule, c.after, who, why, c.who, c.why)
		}
		shift, ok := p.ShiftAt(c.schedule, at.Add(c.after))
		if ok != (c.schedule == "primary") || ok && !shift.To.Equal(at.Add(c.shiftEnds)) {
			t.Errorf("%s after %s: the shift ends at %s", c.schedule, c.after, shift.To)
		}
	}
	var pointless []string
	for _, x := range p.PointlessOverrides(at) {
		pointless = append(pointless, x.Override.ID+": "+x.Why)
	}
	want := []string{`2: there is no schedule "gone" any more`, "3: ana is not on call then", "4: there is no user cy any more"}
	if len(pointless) != len(want) {
		t.Fatalf("got %q, want %q", pointless, want)
	}
	for i := range want {
		if pointless[i] != want[i] {
			t.Errorf("got %q, want %q", pointless[i], want[i])
		}
	}
}

// TestOverrideOfSomebodyGone: who covers for ana and leaves the company does not leave the schedule without anybody.
func TestOverrideOfSomebodyGone(t *testing.T) {
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	p := Policy{
		Users:     map[string]User{"ana": {Name: "ana"}},
		Schedules: map[string]Schedule{"primary": {Name: "primary", Layers: []Layer{{Name: "weekly", Rosters: []Roster{{Users: [][]string{{"ana"}}}}}}}},
	}
	stored := []Override{
		{ID: "0", Schedule: "primary", Kind: OverrideReplace, User: "bo", From: at.Add(-time.Hour), To: at},
		{ID: "1", Schedule: "primary", Kind: OverrideReplace, User: "bo", Replaces: "ana", From: at, To: at.Add(time.Hour)},
		{ID: "2", Schedule: "primary", Kind: OverrideReplace, User: "bo", From: at.Add(time.Hour), To: at.Add(2 * time.Hour)},
		{ID: "3", Schedule: "primary", Kind: OverrideRemove, User: "bo", From: at, To: at.Add(time.Hour)},
	}
	p = p.WithOverrides(stored, at)
	for after, want := range map[time.Duration]string{-time.Second: "bo", 0: "ana", time.Hour: "ana", 2 * time.Hour: "ana"} { // what is over stays as it was
		if users, _ := p.OnCall("primary", at.Add(after)); (Shift{Users: users}).Who() != want {
			t.Errorf("%s after: %v is on call, want %s", after, users, want)
		}
	}
	var pointless []string
	for _, x := range p.PointlessOverrides(at) {
		pointless = append(pointless, x.Override.ID+": "+x.Why)
	}
	if got := strings.Join(pointless, "; "); got != "1: there is no user bo any more; 2: there is no user bo any more; 3: there is no user bo any more" {
		t.Error(got)
	}
	if p.Users = map[string]User{"ana": {}, "bo": {}}; p.WithOverrides(p.Overrides, at).Overrides[1].gone {
		t.Error("who is there again is still gone")
	}
}
