package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"

	"tocsin/oncall"
	"tocsin/store"
)

func silenceOf(id string, ends time.Time) oncall.Silence {
	m := func(typ amlabels.MatchType, name, value string) *amlabels.Matcher {
		x, err := amlabels.NewMatcher(typ, name, value)
		if err != nil {
			panic(err)
		}
		return x
	}
	return oncall.Silence{
		ID: id, StartsAt: start, EndsAt: ends, UpdatedAt: start, CreatedBy: "ana", Comment: "\"quiet\" <b>", Incident: 42, Annotations: map[string]string{"a": "b"},
		Matchers: amlabels.Matchers{m(amlabels.MatchEqual, "alertname", "A"), m(amlabels.MatchNotEqual, "ü b", ""), m(amlabels.MatchRegexp, "i", `10\.0\..*"`), m(amlabels.MatchNotRegexp, "j", "a|b")},
	}
}

// silences are all silences as text, after a look at the version.
func (e *env) silences() (out string) {
	e.t.Helper()
	all, version, err := e.s.Silences(e.ctx())
	e.must(err)
	alone, err := e.s.SilencesVersion(e.ctx())
	e.must(err)
	equal(e.t, alone, version)
	for _, s := range all {
		out += fmt.Sprintf("%s by %s until %s; ", s.ID, s.CreatedBy, s.EndsAt.Format("15:04"))
	}
	return out
}

func (e *env) version() int64 {
	e.t.Helper()
	v, err := e.s.SilencesVersion(e.ctx())
	e.must(err)
	return v
}

func (e *env) silence(s ...oncall.Silence) {
	e.t.Helper()
	_, err := e.s.UpdateSilence(e.ctx(), oncall.Write{Now: e.now}, "", func(_ oncall.Silence, found bool) ([]oncall.Silence, error) {
		equal(e.t, found, false)
		return s, nil
	})
	e.must(err)
}

func testSilences(t *testing.T, e *env) {
	equal(t, e.silences(), "")
	equal(t, e.version(), int64(0))
	one := silenceOf("one", start.Add(time.Hour))
	e.silence(one)
	v := e.version()
	if v == 0 {
		t.Fatal("a new silence did not change the version")
	}
	all, _, err := e.s.Silences(e.ctx())
	e.must(err)
	sameSilence(t, all[0], one)

	// Expired, and replaced by another one.
	e.reopen(store.Options{})
	got, err := e.s.UpdateSilence(e.ctx(), oncall.Write{Now: e.now}, "one", func(s oncall.Silence, found bool) ([]oncall.Silence, error) {
		equal(t, found, true)
		sameSilence(t, s, one)
		s.EndsAt = e.now
		return []oncall.Silence{s, silenceOf("two", start.Add(2*time.Hour))}, nil
	})
	e.must(err)
	equal(t, []string{got[0].ID, got[1].ID}, []string{"one", "two"})
	equal(t, e.silences(), "one by ana until 12:00; two by ana until 14:00; ")
	if e.version() <= v {
		t.Fatal("the version did not grow")
	}
	v = e.version()

	// What fails, and what changes nothing, does not change the version.
	boom := errors.New("boom")
	_, err = e.s.UpdateSilence(e.ctx(), oncall.Write{Now: e.now}, "two", func(s oncall.Silence, _ bool) ([]oncall.Silence, error) {
		s.CreatedBy = "never"
		return []oncall.Silence{s}, boom
	})
	e.wantErr(err, boom)
	e.silence()
	_, err = e.s.UpdateSilence(e.ctx(), oncall.Write{Now: e.now}, "two", func(oncall.Silence, bool) ([]oncall.Silence, error) {
		return []oncall.Silence{silenceOf("three", start), {}}, nil
	})
	e.wantCode(err, oncall.CodeInternal)
	equal(t, e.silences(), "one by ana until 12:00; two by ana until 14:00; ")
	equal(t, e.version(), v)
}

func sameSilence(t testing.TB, got, want oncall.Silence) {
	t.Helper()
	equal(t, got.Matchers.String(), want.Matchers.String())
	for i, m := range got.Matchers {
		if w := want.Matchers[i]; m.Type != w.Type || m.Matches("10.0.3\"") != w.Matches("10.0.3\"") || m.Matches("a") != w.Matches("a") {
			t.Errorf("the matcher %s came back as another one", w)
		}
	}
	got.Matchers, want.Matchers = nil, nil
	equal(t, got, want)
}

// testSilencesNoted: what the dispatcher notes on a silence does not undo what somebody does to it.
func testSilencesNoted(t *testing.T, e *env) {
	one, two := silenceOf("one", start.Add(time.Hour)), silenceOf("two", start.Add(time.Hour))
	e.silence(one, two)
	v := e.version()
	expired := one
	expired.UpdatedAt, expired.EndsAt = start.Add(time.Nanosecond), start.Add(time.Minute)
	e.silence(expired)
	one.RemindedAt, two.RemindedAt = start, start
	e.dispatch(oncall.Dispatch{Silences: []oncall.Silence{one, two}})
	all, version, err := e.s.Silences(e.ctx())
	e.must(err)
	sameSilence(t, all[0], expired)
	sameSilence(t, all[1], two)
	if version <= v+1 {
		t.Error("the version did not grow")
	}
}

func testPruneSilences(t *testing.T, e *env) {
	for i := range 3 {
		e.silence(silenceOf(fmt.Sprint(i), start.Add(time.Duration(i)*time.Hour)))
	}
	v := e.version()
	_, err := e.s.Prune(e.ctx(), start.Add(oncall.SilencesKept), 0)
	e.must(err)
	equal(t, e.version(), v)
	_, err = e.s.Prune(e.ctx(), start.Add(oncall.SilencesKept+90*time.Minute), 10000*time.Hour)
	e.must(err)
	equal(t, strings.Count(e.silences(), ";"), 1)
	if e.version() == v {
		t.Error("the version stayed the same")
	}
}
