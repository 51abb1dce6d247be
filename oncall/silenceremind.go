package oncall

import (
	"fmt"
	"slices"
	"strings"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/prometheus/model/labels"
)

// remindBefore is how long before its end people are reminded of a silence; shorter ones at half.
const remindBefore = 15 * time.Minute

// SilenceReminder tells people that a silence ends soon and what will be heard then.
type SilenceReminder struct {
	Silence Silence // with RemindedAt: to be stored, so that it is said once
	Firing  int     // alerts that fire under it
	Text    string  // a sentence, for the incident's timeline and thread, or for the log
}

// RemindAt is when people are to be reminded that the silence ends.
func (s Silence) RemindAt() time.Time {
	return s.EndsAt.Add(-min(remindBefore, s.EndsAt.Sub(s.StartsAt)/2))
}

// Reminders returns what is to be said at now of silences that end soon while alerts fire under them: once for
// each, when alerts first fire under it in its last minutes. firing yields the labels of the alerts that fire; it is
// called once if at all, because there may be many of them and many silences. They are sorted by end.
func (x *SilenceSet) Reminders(now time.Time, firing func(yield func(labels.Labels))) []SilenceReminder {
	var ending []Silence
	x.each(func(s Silence) {
		if s.RemindedAt.IsZero() && s.State(now) == SilenceActive && !now.Before(s.RemindAt()) {
			ending = append(ending, s)
		}
	})
	if len(ending) == 0 {
		return nil
	}
	matchers := make([]amlabels.Matchers, len(ending))
	for i := range ending {
		matchers[i] = ending[i].Matchers
	}
	index, counts := NewMatchIndex(matchers), make([]int, len(ending))
	firing(func(ls labels.Labels) {
		index.Matching(ls, func(i int) bool { counts[i]++; return true })
	})
	var due []SilenceReminder
	for i, s := range ending {
		if n := counts[i]; n > 0 {
			s.RemindedAt = now
			due = append(due, SilenceReminder{s, n, reminderText(s, n, now)})
		}
	}
	slices.SortFunc(due, func(a, b SilenceReminder) int {
		if c := a.Silence.EndsAt.Compare(b.Silence.EndsAt); c != 0 {
			return c
		}
		return strings.Compare(a.Silence.ID, b.Silence.ID)
	})
	return due
}

func reminderText(s Silence, firing int, now time.Time) string {
	left := s.EndsAt.Sub(now).Round(time.Second)
	if left >= time.Minute {
		left = left.Round(time.Minute)
	}
	alerts := "1 alert still fires"
	if firing != 1 {
		alerts = fmt.Sprintf("%d alerts still fire", firing)
	}
	by := ""
	if s.CreatedBy != "" {
		by = " by " + s.CreatedBy
	}
	why := ""
	if s.Comment != "" {
		why = fmt.Sprintf(" (%q)", s.Comment)
	}
	return fmt.Sprintf("The silence %s%s%s ends in %s, at %s, and %s under it", s.Matchers, by, why, human(left), s.EndsAt.UTC().Format("15:04 MST"), alerts)
}

// NextReminder returns the earliest instant after after at which a silence comes to its last minutes and was
// not spoken of; zero: none. In those minutes ask Reminders when alerts begin to fire.
func (x *SilenceSet) NextReminder(after time.Time) time.Time {
	var next time.Time
	x.each(func(s Silence) {
		if at := s.RemindAt(); s.RemindedAt.IsZero() && at.After(after) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	})
	return next
}
