package demo

import (
	"slices"
	"testing"
	"time"
)

func at(hour, minute int) time.Time { return time.Date(2024, 9, 23, hour, minute, 0, 0, time.UTC) }

// firstAbove steps the service in evaluation-sized steps until the first instance passes the share.
func firstAbove(s *service, share float64, limit time.Time) time.Time {
	for s.now.Before(limit) {
		s.step(s.now.Add(10 * time.Second))
		if s.instances[0].ratio(s.now) > share {
			return s.now
		}
	}
	return time.Time{}
}

func between(t *testing.T, what string, got, from, to time.Time) {
	t.Helper()
	if got.Before(from) || got.After(to) {
		t.Errorf("%s at %s, want between %s and %s", what, got.Format("15:04:05"), hhmm(from), hhmm(to))
	}
}

func TestMemoryCrossesEightyPercentJustBeforeOne(t *testing.T) {
	s := newService(storyStart.Add(-historySpan))
	between(t, "80 % crossed", firstAbove(s, 0.8, at(13, 30)), at(12, 56), at(12, 58))
	// No collection takes it below again while the rule's "for" runs.
	for end := s.now.Add(3 * time.Minute); s.now.Before(end); s.step(s.now.Add(5 * time.Second)) {
		if r := s.instances[0].ratio(s.now); r <= 0.8 {
			t.Fatalf("back at %.3f at %s: the alert would start over", r, s.now.Format("15:04:05"))
		}
	}
}

func TestErrorsFollowMemory(t *testing.T) {
	s := newService(storyStart.Add(-historySpan))
	s.step(at(13, 0))
	if e := s.errorRatio(); e > 0.01 {
		t.Errorf("%.3f of checkouts fail at 13:00: too early", e)
	}
	s.step(at(13, 10))
	if e := s.errorRatio(); e < 0.05 || e > 0.3 {
		t.Errorf("%.3f of checkouts fail at 13:10, want between 5 and 30 %%", e)
	}
}

func TestCrashesIfNobodyActs(t *testing.T) {
	s := newService(storyStart.Add(-historySpan))
	s.step(at(13, 12))
	if s.instances[0].crashes > 0 {
		t.Error("crashed before anybody had time to act")
	}
	s.step(at(13, 17))
	if s.instances[0].crashes == 0 {
		t.Errorf("session-1 at %.2f has not crashed", s.instances[0].ratio(s.now))
	}
	s.step(at(13, 25))
	if e := s.errorRatio(); e < 0.55 || e > 0.65 {
		t.Errorf("%.2f of checkouts fail with both instances down, want about 60 %% as in 2024", e)
	}
	s.rollingRestart()
	s.step(at(13, 28))
	if e := s.errorRatio(); e > 0.01 {
		t.Errorf("%.2f of checkouts fail after the restart", e)
	}
}

func TestRestartHelpsForAWhile(t *testing.T) {
	s := newService(storyStart.Add(-historySpan))
	s.step(at(13, 13))
	s.rollingRestart()
	for end := at(13, 16); s.now.Before(end); s.step(s.now.Add(5 * time.Second)) {
		if !s.instances[0].up(s.now) && !s.instances[1].up(s.now) {
			t.Fatalf("both instances down at %s during a rolling restart", s.now.Format("15:04:05"))
		}
	}
	for _, in := range s.instances {
		if r := in.ratio(s.now); r > 0.5 || r < 0.3 || in.restarts != 1 || in.crashes != 0 {
			t.Errorf("%s after the restart: %.2f, %d restarts, %d crashes", in.name, r, in.restarts, in.crashes)
		}
	}
	if e := s.errorRatio(); e > 0.01 {
		t.Errorf("%.3f of checkouts fail after the restart", e)
	}
	between(t, "80 % again without a patch", firstAbove(s, 0.8, at(15, 0)), at(13, 40), at(14, 0))
}

func TestPatchEndsTheLeak(t *testing.T) {
	s := newService(storyStart.Add(-historySpan))
	s.step(at(13, 13))
	s.rollingRestart()
	s.step(at(13, 42))
	s.patch()
	if passed := firstAbove(s, 0.8, at(16, 0)); !passed.IsZero() {
		t.Errorf("80 %% again at %s in spite of the patch", hhmm(passed))
	}
	if r := s.instances[0].ratio(s.now); r > 0.5 {
		t.Errorf("at %.2f long after the patch", r)
	}
}

func TestLongStepsDoNotSkipACrash(t *testing.T) {
	one := newService(storyStart.Add(-historySpan))
	one.step(at(14, 0))
	many := newService(storyStart.Add(-historySpan))
	for many.now.Before(at(14, 0)) {
		many.step(many.now.Add(5 * time.Second))
	}
	if one.instances[0] != many.instances[0] || one.instances[0].crashes == 0 {
		t.Errorf("one long step gives %+v, many short ones %+v", one.instances[0], many.instances[0])
	}
}

func TestEachCrashIsToldWithItsInstance(t *testing.T) {
	r := &run{clock: clock{speed: 40}, service: newService(storyStart.Add(-historySpan)), crashes: map[string]int{}}
	for end := at(13, 25); r.service.now.Before(end); {
		r.service.step(r.service.now.Add(10 * time.Second))
		r.note(r.service.now)
	}
	var told []string
	for _, m := range r.deeds {
		told = append(told, m.Text)
	}
	want := []string{"Memory passes 80 %. If it stays there for two minutes, the alert fires.",
		"session-1 reaches its limit and crashes.", "session-2 reaches its limit and crashes."}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
