package oncall_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/oncall"
)

// day0 is a Monday at nine in Madrid, when ana's week begins.
var day0 = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)

func weekly(t *testing.T) *oncall.Schedule {
	return decodeText(t, `[{name: s, time_zone: Europe/Madrid, layers: [{name: weekly, users: [ana, bo, chen], start: 2026-01-05, handoff: "0 9 * * MON", shadow: dee}]}]`)
}

func on(d, h int) time.Time { return day0.Add(time.Duration(24*d+h) * time.Hour) }

func record(id string, kind oncall.OverrideKind, user, replaces string, from, to time.Time) oncall.Override {
	return oncall.Override{ID: id, Schedule: "s", Kind: kind, User: user, Replaces: replaces, From: from, To: to, Author: "eva", Reason: "dentist"}
}

func TestOverrides(t *testing.T) {
	const add, remove, replace = oncall.OverrideAdd, oncall.OverrideRemove, oncall.OverrideReplace
	for _, c := range []struct {
		about     string
		overrides []oncall.Override
		want      string // who, from the hours after day0 on, in ana's week and the first day of bo's
	}{
		{"none", nil, "ana 168 bo"},
		{"replace", []oncall.Override{record("1", replace, "eva", "ana", on(1, 0), on(2, 0))}, "ana 24 eva 48 ana 168 bo"},
		{"replace over a handoff ends with the turn of whom it replaces", []oncall.Override{record("1", replace, "eva", "ana", on(6, 0), on(8, 0))}, "ana 144 eva 168 bo"},
		{"replace whoever it is", []oncall.Override{record("1", replace, "eva", "", on(6, 0), on(8, 0))}, "ana 144 eva 168 eva"},
		{"add", []oncall.Override{record("1", add, "eva", "", on(1, 0), on(2, 0))}, "ana 24 ana, eva 48 ana 168 bo"},
		{"remove leaves nobody", []oncall.Override{record("1", remove, "ana", "", on(1, 0), on(2, 0))}, "ana 24 nobody 48 ana 168 bo"},
		{"who covers can be covered for", []oncall.Override{
			record("1", replace, "eva", "ana", on(1, 0), on(3, 0)), record("2", replace, "chen", "eva", on(2, 0), on(3, 0)),
		}, "ana 24 eva 48 chen 72 ana 168 bo"},
		{"the order is that of creation, not of the list", []oncall.Override{
			record("2", replace, "chen", "eva", on(2, 0), on(3, 0)), record("1", replace, "eva", "ana", on(1, 0), on(3, 0)),
		}, "ana 24 eva 48 chen 72 ana 168 bo"},
		{"a shadow who stands in is no shadow then", []oncall.Override{record("1", replace, "dee", "ana", on(1, 0), on(2, 0))}, "ana 24 dee 48 ana 168 bo"},
		{"another schedule's", []oncall.Override{{ID: "1", Schedule: "other", Kind: remove, User: "ana", From: on(0, 0), To: on(9, 0)}}, "ana 168 bo"},
		{"replaced by who is on call already", []oncall.Override{
			record("1", add, "eva", "", on(1, 0), on(2, 0)), record("2", replace, "eva", "ana", on(1, 0), on(2, 0)),
		}, "ana 24 eva 48 ana 168 bo"},
	} {
		var got []string
		for i, shift := range weekly(t).Shifts(c.overrides, on(0, 0), on(8, 0)) {
			if i > 0 {
				got = append(got, strings.TrimSuffix(shift.From.Sub(day0).String(), "h0m0s"))
			}
			got = append(got, shift.Who())
		}
		if who := strings.Join(got, " "); who != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.about, who, c.want)
		}
	}
}

func TestOnCallSaysWhy(t *testing.T) {
	s := weekly(t)
	overrides := []oncall.Override{record("1", oncall.OverrideReplace, "eva", "bo", on(8, 0), on(9, 0))}
	shift := s.ShiftAt(overrides, on(8, 3))
	if got, want := s.RenderShift(shift), "s: eva (shadowed by dee) until Wed 14 Jan 09:00 CET: layer weekly; eva instead of bo (by eva: dentist)"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !shift.From.Equal(on(8, 0)) || !shift.To.Equal(on(9, 0)) {
		t.Errorf("from %s to %s", shift.From, shift.To)
	}
	next, ok := s.NextChange(overrides, on(0, 0))
	if !ok || !next.From.Equal(on(7, 0)) || next.Who() != "bo" {
		t.Errorf("the next change is %+v, %v", next, ok)
	}
	always := decodeText(t, `[{name: s, time_zone: UTC, layers: [{users: [[ana, bo]]}]}]`)
	if shift := always.ShiftAt(nil, day0); shift.Who() != "ana, bo" || !shift.From.IsZero() || !shift.To.IsZero() {
		t.Errorf("who is always on call: %+v", shift)
	}
	if next, ok := always.NextChange(nil, day0); ok {
		t.Errorf("nothing ever changes, and then %+v", next)
	}
}

// TestLayers: a later layer takes precedence where it has somebody.
func TestLayers(t *testing.T) {
	s := decodeText(t, `
- name: s
  time_zone: Europe/Madrid
  layers:
  - {name: base, users: [ana]}
  - {name: office, users: [bo], restrict: [{weekdays: ['monday:friday'], times: [{start_time: '09:00', end_time: '17:00'}]}]}
  - {name: holiday, users: [[chen, dee]], start: 2026-01-06, changes: [{effective_from: 2026-01-07, users: []}]}`)
	var got []string
	for _, shift := range s.Shifts(nil, on(0, 0), on(3, 0)) {
		got = append(got, shift.From.Format("Mon 15:04")+" "+shift.Who()+" ("+shift.Layer+")")
	}
	want := []string{"Mon 09:00 bo (office)", "Mon 17:00 ana (base)", "Tue 00:00 chen, dee (holiday)", "Wed 00:00 ana (base)", "Wed 09:00 bo (office)", "Wed 17:00 ana (base)"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSwap(t *testing.T) {
	ana := oncall.Period{From: on(1, 0), To: on(2, 0)}
	bo := oncall.Period{From: on(7, 0), To: on(8, 0)}
	swap, err := oncall.SwapOverrides("s", "ana", ana, "bo", bo, oncall.Override{Author: "ana", CreatedAt: day0})
	if err != nil {
		t.Fatal(err)
	}
	swap[0].ID, swap[1].ID = "1", "2"
	var got []string
	for _, shift := range weekly(t).Shifts(swap, on(0, 0), on(9, 0)) {
		got = append(got, shift.Who())
	}
	if who := strings.Join(got, " "); who != "ana bo ana ana bo" {
		t.Error(who)
	}
	for _, bad := range []func() ([]oncall.Override, error){
		func() ([]oncall.Override, error) {
			return oncall.SwapOverrides("s", "ana", ana, "bo", oncall.Period{From: on(1, 5), To: on(3, 0)}, oncall.Override{})
		},
		func() ([]oncall.Override, error) {
			return oncall.SwapOverrides("s", "ana", ana, "ana", bo, oncall.Override{})
		},
		func() ([]oncall.Override, error) {
			return oncall.SwapOverrides("s", "ana", oncall.Period{}, "bo", bo, oncall.Override{})
		},
	} {
		if swap, err := bad(); oncall.ErrorCode(err) != oncall.CodeInvalid {
			t.Errorf("%v, %v", swap, err)
		}
	}
}

func TestOverrideValidate(t *testing.T) {
	good := record("1", oncall.OverrideReplace, "eva", "ana", on(1, 0), on(2, 0))
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for about, spoil := range map[string]func(o *oncall.Override){
		"kind":         func(o *oncall.Override) { o.Kind = "swap" },
		"user":         func(o *oncall.Override) { o.User = " " },
		"backwards":    func(o *oncall.Override) { o.From, o.To = o.To, o.From },
		"empty":        func(o *oncall.Override) { o.To = o.From },
		"herself":      func(o *oncall.Override) { o.Replaces = o.User },
		"add replaces": func(o *oncall.Override) { o.Kind = oncall.OverrideAdd },
		"for ever":     func(o *oncall.Override) { o.To = o.From.AddDate(2, 0, 0) },
	} {
		o := good
		spoil(&o)
		if err := o.Validate(); oncall.ErrorCode(err) != oncall.CodeInvalid {
			t.Errorf("%s: %v", about, err)
		}
	}
}

func TestRewritten(t *testing.T) {
	careless := decodeText(t, `[{name: s, time_zone: Europe/Madrid, layers: [{name: weekly, users: [ana, bo, chen, eva], start: 2026-01-05, handoff: "0 9 * * MON", shadow: dee}]}]`)
	was, is, ok := weekly(t).Rewritten(careless, nil, on(0, 0), on(60, 0))
	if !ok || was.Who() != "ana" || is.Who() != "eva" || !was.From.Equal(on(21, 0)) || is.Period != was.Period {
		t.Errorf("without effective_from the past changes, and all that is said is %+v, %+v, %v", was, is, ok)
	}
	careful := decodeText(t, `[{name: s, time_zone: Europe/Madrid, layers: [{name: weekly, users: [ana, bo, chen], start: 2026-01-05, handoff: "0 9 * * MON", shadow: dee,
  changes: [{effective_from: 2026-03-06, users: [ana, bo, chen, eva]}]}]}]`)
	if was, _, ok := weekly(t).Rewritten(careful, nil, on(0, 0), on(60, 0)); ok {
		t.Errorf("said to be rewritten: %+v", was)
	}
}

// TestRewrittenByShadows: who learns has no turn, and nobody is warned that it was given to others.
func TestRewrittenByShadows(t *testing.T) {
	edited := *weekly(t)
	edited.Layers = slices.Clone(edited.Layers)
	edited.Layers[0].Rosters = slices.Clone(edited.Layers[0].Rosters)
	for i := range edited.Layers[0].Rosters {
		edited.Layers[0].Rosters[i].Shadows = []string{"zoe"}
	}
	if was, is, ok := weekly(t).Rewritten(&edited, nil, on(0, 0), on(60, 0)); ok {
		t.Errorf("was %s, is %s", was.Who(), is.Who())
	}
}
