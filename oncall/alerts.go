package oncall

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// alertsChanged takes alerts in, opens the incident with the first of them, and resolves it with the last.
func (m *machine) alertsChanged(changes []AlertChange) {
	opening := m.in.State == ""
	if opening {
		if !opens(changes) {
			return
		}
		m.open(changes)
	}
	reopening := m.in.State == IncidentResolved && m.in.ResolvedBy == "" && opens(changes)
	if m.in.State == IncidentResolved && m.in.ResolvedBy == "" && !reopening {
		return // nothing of it fires, and what is muted at once opens nothing
	}
	if reopening {
		m.reopen(changes)
	}
	m.takesMerged(changes)
	before := m.in.Severity
	groups := map[TimelineKind][]changed{}
	for _, c := range changes {
		if kind, i, ok := m.alertChanged(c); ok {
			groups[kind] = append(groups[kind], changed{i, c.Reason})
		}
	}
	for _, kind := range []TimelineKind{EntryAlertFiring, EntryAlertUnknown, EntryAlertKnown, EntryAlertResolved, EntryAlertMuted, EntryAlertUnmuted} {
		m.noteAlerts(kind, groups[kind])
	}
	if len(m.order) > 0 {
		m.visible = true
	}
	joined := m.newKinds()
	worse := severityRank(m.in.Severity) > severityRank(before)
	if m.in.Open() && m.firing() == 0 {
		m.resolve("", "all alerts resolved")
		return
	}
	m.settlePause()
	if !opening && !reopening && m.in.Open() {
		m.tellJoined(joined, before, worse)
	}
	m.settleSnooze()
	m.proceed()
}

// changed is an alert of this run with why it changed.
type changed struct {
	index  int
	reason string
}

// open starts the incident. The trigger is when the alert was decided, which is earlier than now if the
// process was down in between: overdue tiers then run at once.
func (m *machine) open(changes []AlertChange) {
	first := changes[slices.IndexFunc(changes, func(c AlertChange) bool { return c.Status == ChangeFiring })]
	at := m.now
	if !first.At.IsZero() && first.At.Before(at) {
		at = first.At
	}
	m.in.State = IncidentTriggered
	m.in.TriggeredAt, m.in.RoundAt, m.in.Anchor = at, at, at
	m.in.Title = titleOf(first, m.in.GroupLabels)
	text := "incident opened: " + first.Reason
	if m.in.Why != "" {
		text += "; " + m.in.Why
	}
	if m.in.LinkedFrom == 0 {
		m.in.LinkedFrom = first.LinkedFrom
	}
	m.note(EntryTriggered, "", text)
	if m.in.LinkedFrom != 0 {
		text := "closed by hand while its alerts still fired"
		if first.Into != 0 {
			text = fmt.Sprintf("merged into #%d, which has ended since", first.Into)
		}
		m.note(EntryLinked, "", fmt.Sprintf("continues #%d, which was %s", m.in.LinkedFrom, text))
	}
}

// alertChanged applies one change. ok is false where it says nothing new.
func (m *machine) alertChanged(c AlertChange) (kind TimelineKind, index int, ok bool) {
	fp := FingerprintOf(c.Labels)
	i, known := m.alerts[fp]
	if c.Status != ChangeFiring {
		if !known || m.in.Alerts[i].State != StateFiring {
			return "", 0, false
		}
		return m.alertLess(i, c)
	}
	if !known {
		i = len(m.in.Alerts)
		m.alerts[fp] = i
		m.in.Alerts = append(m.in.Alerts, IncidentAlert{Fingerprint: fp, Labels: c.Labels})
	}
	a := &m.in.Alerts[i]
	again := a.State == StateFiring
	unmuted := again && !a.MutedSince.IsZero()
	a.Sources = slices.Clone(a.Sources)
	if !slices.Contains(a.Sources, c.Source) {
		a.Sources = append(a.Sources, c.Source)
	} else if again && !unmuted && a.Value == c.Value && a.Reason == c.Reason && maps.Equal(a.Annotations, c.Annotations) {
		return "", 0, false
	}
	if a.State != StateFiring {
		a.StartsAt, a.ResolvedAt, a.UnknownSince = c.StartsAt, time.Time{}, time.Time{}
	}
	a.State, a.Annotations, a.Value, a.GeneratorURL, a.Reason, a.Evidence = StateFiring, c.Annotations, c.Value, c.GeneratorURL, c.Reason, c.Evidence
	a.MutedSince, a.MutedWhy = time.Time{}, ""
	if severityRank(c.Labels.Get("severity")) > severityRank(m.in.Severity) {
		m.in.Severity = c.Labels.Get("severity")
	}
	m.touch(i)
	if unmuted {
		return EntryAlertUnmuted, i, true
	}
	if again {
		return "", 0, false // refreshed, or one more source: shown, not told
	}
	return EntryAlertFiring, i, true
}

// alertLess applies a change that takes something away from a firing alert, or gives it back.
func (m *machine) alertLess(i int, c AlertChange) (TimelineKind, int, bool) {
	a := &m.in.Alerts[i]
	switch c.Status {
	case ChangeResolved:
		a.Sources = slices.DeleteFunc(slices.Clone(a.Sources), func(s string) bool { return s == c.Source })
		m.touch(i)
		if len(a.Sources) > 0 {
			return "", 0, false // somebody else still reports it
		}
		a.State, a.ResolvedAt, a.UnknownSince, a.Reason = StateResolved, c.At, time.Time{}, c.Reason
		a.MutedSince, a.MutedWhy = time.Time{}, ""
		if c.Value != "" {
			a.Value = c.Value
		}
		return EntryAlertResolved, i, true
	case ChangeMuted:
		return m.alertMuted(i, c)
	case ChangeUnknown:
		if !a.UnknownSince.IsZero() {
			return "", 0, false
		}
		a.UnknownSince, a.Reason = c.At, c.Reason
		m.touch(i)
		return EntryAlertUnknown, i, true
	case ChangeKnown:
		if a.UnknownSince.IsZero() {
			return "", 0, false
		}
		a.UnknownSince, a.Reason = time.Time{}, c.Reason
		m.touch(i)
		return EntryAlertKnown, i, true
	}
	return "", 0, false
}

// maxNoted is how many alerts of one batch get a timeline entry each; more share one entry, with the exact
// count. Each alert's own evidence is kept with the alert.
const maxNoted = 10

var alertVerbs = map[TimelineKind]string{
	EntryAlertFiring: "firing", EntryAlertResolved: "resolved",
	EntryAlertUnknown: "cannot be evaluated", EntryAlertKnown: "can be evaluated again",
	EntryAlertMuted: "muted", EntryAlertUnmuted: "no longer muted",
}

func (m *machine) noteAlerts(kind TimelineKind, cs []changed) {
	if len(cs) <= maxNoted {
		for _, c := range cs {
			a := m.in.Alerts[c.index]
			text := alertName(a) + " " + alertVerbs[kind] + ": " + c.reason
			if a.Value != "" && kind == EntryAlertFiring {
				text += " (value " + a.Value + ")"
			}
			m.note(kind, "", text)
		}
		return
	}
	names := make([]string, 0, 3)
	for _, c := range cs[:3] {
		names = append(names, alertName(m.in.Alerts[c.index]))
	}
	m.note(kind, "", fmt.Sprintf("%d alerts %s: %s and %d more", len(cs), alertVerbs[kind], strings.Join(names, ", "), len(cs)-3))
}

// alertName is an alert in one short phrase: its name and the label that usually tells instances apart.
func alertName(a IncidentAlert) string {
	name := a.Labels.Get(model.AlertNameLabel)
	for _, l := range []string{"instance", "pod", "host", "service", "job", "backend"} {
		if v := a.Labels.Get(l); v != "" {
			return name + " on " + truncate(v, 80)
		}
	}
	return name
}

// newKinds returns the alertnames that fire in this incident for the first time.
func (m *machine) newKinds() []string {
	var joined []string
	for _, fp := range m.order {
		a := m.in.Alerts[m.alerts[fp]]
		name := a.Labels.Get(model.AlertNameLabel)
		if a.State == StateFiring && !slices.Contains(m.in.Seen, name) {
			m.in.Seen = append(m.in.Seen, name)
			joined = append(joined, name)
		}
	}
	return joined
}

// tellJoined tells those who were paged that the story grew: another kind of alert, or a worse severity.
// More alerts of a kind that is known only redraw the message.
func (m *machine) tellJoined(joined []string, before string, worse bool) {
	if worse {
		m.note(EntrySeverity, "", fmt.Sprintf("severity is now %s (was %s)", m.in.Severity, orNone(before)))
	}
	if len(joined) == 0 && !worse {
		return
	}
	m.tellPages(KindUpdated, fmt.Sprintf("update %d", m.in.Revision+1))
	text := "Severity is now " + m.in.Severity
	if len(joined) > 0 {
		text = strings.Join(joined, ", ") + " joined this incident"
	}
	m.replyAll(Reply{What: string(EntryAlertFiring), Text: text, At: m.now})
}
