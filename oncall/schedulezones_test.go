package oncall_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the same zones on every machine that has none

	"tocsin/oncall"
)

var (
	zoneSeed    = flag.Uint64("zones.seed", 1, "seed of the years and handoffs tried in each zone; 0: a new one")
	zonesWalked = flag.Int("zones.walked", 10, "how many kinds of zone are walked step by step; there are about 160")
)

// zones returns all zones of the tz database that testdata lists.
func zones(t *testing.T) []*time.Location {
	t.Helper()
	b, err := os.ReadFile("testdata/schedule/zones.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []*time.Location
	for name := range strings.FieldsSeq(string(b)) {
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatalf("zone %s: %v", name, err)
		}
		all = append(all, loc)
	}
	return all
}

// changes returns when clocks change in [from, to), and to which offset in seconds, and some instants at which they do not.
func changes(loc *time.Location, from, to time.Time) (at []time.Time, offsets []int) {
	t := from.In(loc)
	for {
		_, offset := t.Zone()
		at, offsets = append(at, t), append(offsets, offset)
		_, end := t.ZoneBounds()
		if !end.IsZero() && !end.After(t) { // it forgets the last day of leap years that are far ahead
			end = t.Add(24 * time.Hour)
		}
		if end.IsZero() || !end.Before(to) {
			return at, offsets
		}
		t = end
	}
}

// oddTransition reports whether clocks in [from, to) show other quarter hours than UTC does, or change between.
func oddTransition(loc *time.Location, from, to time.Time) bool {
	at, offsets := changes(loc, from.Add(-48*time.Hour), to)
	for i := range at {
		if offsets[i]%900 != 0 || at[i].Unix()%900 != 0 {
			return true
		}
	}
	return false
}

// walkedZones are always walked: where clocks change at midnight, by half an hour, over a whole day, or twice more a
// year for Ramadan.
var walkedZones = []string{"Africa/Cairo", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "Asia/Gaza", "America/New_York"}

// TestTenYearsStepByStep walks through ten years of some zones, and holds a schedule without restrictions under one
// that is there at night to the slow definition at each step. Each run takes other zones, years and handoffs.
func TestTenYearsStepByStep(t *testing.T) {
	random, begin := drawYears(t)
	end := begin.AddDate(10, 0, 0)
	kinds := kindsOfZone(t, random, begin, end)
	walked, most := 0, *zonesWalked
	if testing.Short() {
		most = min(most, 2)
	}
	for _, loc := range kinds {
		if walked < most && !oddTransition(loc, begin, end) {
			walkZone(t, random, loc, begin, end)
			walked++
		}
	}
	t.Logf("%d of %d kinds of zone from %s on", walked, len(kinds), begin.Format(time.DateOnly))
}

// kindsOfZone returns one of all zones whose clocks agree throughout [begin, end): those of walkedZones first.
func kindsOfZone(t *testing.T, random *rand.Rand, begin, end time.Time) []*time.Location {
	all := zones(t)
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, name := range walkedZones {
		all = slices.Insert(all, 0, mustZone(name))
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(loc *time.Location) bool {
		at, offsets := changes(loc, begin, end)
		key := fmt.Sprint(offsets)
		for _, c := range at {
			key += fmt.Sprint(" ", c.Unix())
		}
		again := seen[key]
		seen[key] = true
		return again
	})
}

func drawYears(t *testing.T) (*rand.Rand, time.Time) {
	seed := *zoneSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-zones.seed=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	return random, time.Date(2002+random.IntN(30), 1, 1, 0, 0, 0, 0, time.UTC)
}

func walkZone(t *testing.T, random *rand.Rand, loc *time.Location, begin, end time.Time) {
	const coarse = 2 * slowStep
	first := begin.Add(time.Duration(random.IntN(48)) * coarse)
	base, night := twin{layer: oncall.Layer{Name: "base"}}, twin{layer: oncall.Layer{Name: "night"}}
	h := handoffs[random.IntN(len(handoffs))]
	base.add(slowRoster{from: first, users: people[:3], handoff: h.at}, h.cron)
	night.add(slowRoster{from: first, users: people[3:], every: 24 * time.Hour, anchor: first, restrict: restrictions[3]}, "")
	s := &oncall.Schedule{Name: "s", TimeZone: loc, Layers: []oncall.Layer{base.layer, night.layer}}

	shifts := s.Shifts(nil, first, end)
	checkShape(t, shifts, first, end)
	for _, shift := range shifts {
		if len(shift.Users) != 1 {
			t.Fatalf("%s: on call from %s to %s: %s", loc, shift.From, shift.To, shift.Who())
		}
	}
	slow := newSlow(loc, nil, base.slow, night.slow)
	slow.step = coarse
	checkSlow(t, slow, begin, shifts)
}

// TestEveryZoneEveryDay holds ten years of daily handoffs in all zones to the calendar: as many shifts as the wall
// has seen days, each beginning at the first instant at which the wall shows its time, or is past it.
func TestEveryZoneEveryDay(t *testing.T) {
	random, begin := drawYears(t)
	h, m := random.IntN(4), 15*random.IntN(4) // when clocks change
	cron, err := oncall.ParseCron(fmt.Sprintf("%d %d * * *", m, h))
	if err != nil {
		t.Fatal(err)
	}
	for _, loc := range kindsOfZone(t, random, begin, begin.AddDate(10, 0, 2)) {
		start := firstShown(time.Date(begin.Year(), 1, 1, h, m, 0, 0, time.UTC), loc)
		s := &oncall.Schedule{Name: "s", TimeZone: loc, Layers: []oncall.Layer{{Name: "daily", Rosters: []oncall.Roster{{
			From: start, Users: [][]string{{"ana"}, {"bo"}, {"chen"}}, Rotation: oncall.Rotation{Handoff: cron},
		}}}}}
		shifts := s.Shifts(nil, start, start.AddDate(10, 0, 0))
		day := 0
		handoff := func(day int) time.Time {
			return firstShown(time.Date(begin.Year(), 1, 1+day, h, m, 0, 0, time.UTC), loc)
		}
		want, next := handoff(0), handoff(1)
		for i := range shifts {
			for want.Equal(next) { // a day that the zone skipped from handoff to handoff: its turn counts, and has no length
				day++
				next = handoff(day + 1)
			}
			if !shifts[i].From.Equal(want) || shifts[i].Users[0] != people[day%3] {
				t.Fatalf("%s: shift %d of %s begins at %s, want %s of %s", loc, i, shifts[i].Who(), shifts[i].From, people[day%3], want)
			}
			day++
			want, next = next, handoff(day+1)
		}
		checkShape(t, shifts, start, start.AddDate(10, 0, 0))
		if n := len(shifts); n < 3651 || n > 3654 {
			t.Errorf("%s: %d days in ten years", loc, n)
		}
	}
}

// firstShown searches for the first instant at which the wall shows w, or is past it.
func firstShown(w time.Time, loc *time.Location) time.Time {
	const around = 25 * time.Hour
	usual := time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), 0, 0, loc)
	_, before := usual.Add(-around).Zone()
	_, after := usual.Add(around).Zone()
	if before == after && digits(usual, loc).Equal(w) {
		return usual
	}
	for t := usual.Add(-around); ; t = t.Add(time.Minute) {
		if !digits(t, loc).Before(w) {
			return t
		}
	}
}
