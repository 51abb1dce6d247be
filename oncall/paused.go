package oncall

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// An incident whose firing alerts are all muted (silenced, inhibited, outside the times of their route)
// pauses: nobody is told anything further and no timer runs. When one of them is muted no more, or another
// joins, it goes on where it stood: what fell due meanwhile runs at once, one tier at a time.

// paused reports that nobody is to be told of the incident by itself. What people ask for is done all the same.
func (m *machine) paused() bool { return !m.in.PausedSince.IsZero() }

// opens reports whether changes make a new incident: one of them fires and is not muted by a later one.
func opens(changes []AlertChange) bool {
	for i, c := range changes {
		if c.Status == ChangeFiring && !mutedLater(c.Labels, changes[i+1:]) {
			return true
		}
	}
	return false
}

func mutedLater(ls labels.Labels, changes []AlertChange) bool {
	return slices.ContainsFunc(changes, func(c AlertChange) bool {
		return c.Status == ChangeMuted && labels.Equal(c.Labels, ls)
	})
}

// alertMuted marks a firing alert as muted. The change's source reports it firing, and may be one more. An alert
// that was muted for another escalation, by the times of a route that leads there, is none of this incident's.
func (m *machine) alertMuted(i int, c AlertChange) (TimelineKind, int, bool) {
	if c.Escalation != "" && c.Escalation != m.in.Escalation {
		if name, _ := placeName(c, m.p); name != m.in.Escalation {
			return "", 0, false
		}
	}
	a := &m.in.Alerts[i]
	again := !a.MutedSince.IsZero()
	reported := c.Source == "" || slices.Contains(a.Sources, c.Source)
	told := c.Annotations == nil || maps.Equal(a.Annotations, c.Annotations)
	if again && reported && told && (c.Reason == "" || a.MutedWhy == c.Reason) {
		return "", 0, false
	}
	if !reported {
		a.Sources = append(slices.Clone(a.Sources), c.Source)
	}
	if !told {
		a.Annotations = c.Annotations
	}
	if !again {
		a.MutedSince = c.At
		if a.MutedSince.IsZero() {
			a.MutedSince = m.now
		}
	}
	if !again || c.Reason != "" {
		a.MutedWhy = c.Reason
	}
	m.touch(i)
	return EntryAlertMuted, i, !again
}

// muted counts the firing alerts that are muted.
func (m *machine) muted() int {
	n := 0
	for i := range m.in.Alerts {
		if a := &m.in.Alerts[i]; a.State == StateFiring && !a.MutedSince.IsZero() {
			n++
		}
	}
	return n
}

// settlePause pauses an open incident or lets it go on, as its alerts now are, and says so.
func (m *machine) settlePause() {
	all := m.in.Open() && m.firing() > 0 && m.muted() == m.firing()
	switch {
	case all && !m.paused():
		m.in.PausedSince = m.now
		text := m.pausedText()
		m.note(EntryPaused, "", text)
		if why := m.firstMutedWhy(); why != "" {
			text += ": " + why
		}
		m.replyAll(Reply{What: string(EntryPaused), Text: capital(text), At: m.now})
	case !all && m.paused():
		m.in.PausedSince = time.Time{}
		const text = "goes on: not all of its alerts are muted any more"
		m.note(EntryResumed, "", text)
		m.replyAll(Reply{What: string(EntryResumed), Text: capital(text), At: m.now})
	}
}

// pausedText says that the incident is paused, and by what as far as all its alerts agree in it.
func (m *machine) pausedText() string {
	how := ""
	for i := range m.in.Alerts {
		a := &m.in.Alerts[i]
		if a.State != StateFiring {
			continue
		}
		word := mutedWord(a.MutedWhy)
		if how != "" && how != word {
			how = "muted"
			break
		}
		how = word
	}
	return "paused: all its alerts are " + how
}

// mutedWord is how an alert is muted in one word, taken from the sentence that says why.
func mutedWord(why string) string {
	for _, word := range []string{"silenced", "inhibited"} {
		if strings.HasPrefix(why, word) {
			return word
		}
	}
	return "muted"
}

// firstMutedWhy is why the first of the muted alerts is muted.
func (m *machine) firstMutedWhy() string {
	for i := range m.in.Alerts {
		if a := &m.in.Alerts[i]; a.State == StateFiring && a.MutedWhy != "" {
			return a.MutedWhy
		}
	}
	return ""
}

// noted records what was done elsewhere.
func (m *machine) noted(ev Noted) {
	if m.in.State == "" || ev.Text == "" {
		return
	}
	m.note(ev.Kind, ev.Actor, truncate(ev.Text, 3000))
	if ev.Reply != "" {
		m.replyAll(Reply{What: string(ev.Kind), Text: truncate(ev.Reply, 2900), At: m.now})
	}
}

// capital begins a sentence.
func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
