package oncall

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkOnCall asks who is on call as a tier does: one schedule of two layers among 1,000 overrides of others.
func BenchmarkOnCall(b *testing.B) {
	monday := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	loc, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		b.Fatal(err)
	}
	layer := Layer{Name: "weekly", Rosters: []Roster{{From: monday, Users: [][]string{{"ana"}, {"bo"}, {"cy"}}, Rotation: Rotation{Every: 7 * day, Anchor: monday}}}}
	p := Policy{Schedules: map[string]Schedule{"primary": {Name: "primary", TimeZone: loc, Layers: []Layer{layer, layer}}}}
	for i := range 1000 {
		p.Overrides = append(p.Overrides, Override{ID: fmt.Sprint(i), Schedule: fmt.Sprint("other-", i%20), User: "bo", Kind: OverrideReplace, From: monday, To: monday.Add(100 * day)})
	}
	at := monday.AddDate(0, 6, 0)
	b.Run("OnCall", func(b *testing.B) {
		for b.Loop() {
			p.OnCall("primary", at)
		}
	})
	b.Run("ShiftAt", func(b *testing.B) {
		for b.Loop() {
			p.ShiftAt("primary", at)
		}
	})
	s := p.Schedules["primary"]
	b.Run("Coverage", func(b *testing.B) {
		for b.Loop() {
			s.Coverage(p.Overrides, at, at.Add(CoverageAhead), nil)
		}
	})
}
