package notifier

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

const (
	maxAlertsShown = 10 // in an explanation; the rest is counted
	clock          = "15:04:05"
	dayClock       = "2006-01-02 15:04:05"
)

// Text is the explanation as plain text, at most about a hundred columns where labels allow it. All times
// are UTC. Nothing in it controls a terminal.
func (e Explanation) Text() string {
	w := &writer{day: e.Incident.TriggeredAt.UTC().Format(time.DateOnly)}
	v := e.Incident
	title := fmt.Sprintf("#%d %s", v.Number, v.Title)
	if v.Severity != "" {
		title += " (" + v.Severity + ")"
	}
	w.line(0, title)
	w.line(0, e.standing())
	if v.URL != "" {
		w.line(0, v.URL)
	}
	e.writeAlerts(w)
	e.writeEscalation(w)
	e.writeDeliveries(w)
	e.writeTimeline(w)
	w.head("What happens next")
	w.line(1, e.next(w))
	return w.b.String()
}

// standing is the incident's state in one sentence.
func (e Explanation) standing() string {
	v := e.Incident
	since := v.TriggeredAt.UTC().Format(dayClock) + " UTC"
	switch v.State {
	case oncall.IncidentResolved:
		by := "its alerts resolved"
		if v.ResolvedBy != "" {
			by = v.ResolvedBy + " closed it"
		}
		return fmt.Sprintf("resolved after %s: triggered %s, %s %s UTC", span(v.ResolvedAt.Sub(v.TriggeredAt)), since, by,
			v.ResolvedAt.UTC().Format(dayClock))
	case oncall.IncidentAcknowledged:
		return fmt.Sprintf("acknowledged by %s %s ago, triggered %s", v.AcknowledgedBy, span(e.At.Sub(v.AcknowledgedAt)), since)
	case oncall.IncidentSnoozed:
		return fmt.Sprintf("snoozed until %s UTC, triggered %s", v.SnoozedUntil.UTC().Format(dayClock), since)
	}
	if !v.PausedSince.IsZero() {
		return fmt.Sprintf("paused for %s, triggered %s: all that fires is muted, and nobody is told", span(e.At.Sub(v.PausedSince)), since)
	}
	return fmt.Sprintf("%s for %s, since %s; nobody has it yet", v.State, span(e.At.Sub(v.TriggeredAt)), since)
}

func (e Explanation) writeAlerts(w *writer) {
	v := e.Incident
	muted := ""
	if v.AlertsMuted > 0 {
		muted = fmt.Sprintf(", %d of them muted", v.AlertsMuted)
	}
	w.head(fmt.Sprintf("What fired (%d of %d still firing%s)", v.AlertsFiring, v.AlertsTotal, muted))
	order := make([]int, len(v.Alerts)) // firing ones first
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return rank(v.Alerts[a].State) - rank(v.Alerts[b].State)
	})
	for n, i := range order {
		if n == maxAlertsShown {
			w.line(1, fmt.Sprintf("… and %d more", len(order)-n))
			break
		}
		var steps []oncall.Transition
		if i < len(e.Alerts) {
			steps = e.Alerts[i].Transitions
		}
		e.writeAlert(w, v.Alerts[i], steps)
	}
}

func rank(s oncall.AlertState) int {
	if s == oncall.StateFiring {
		return 0
	}
	return 1
}

func (e Explanation) writeAlert(w *writer, a oncall.IncidentAlert, steps []oncall.Transition) {
	state := fmt.Sprintf("firing since %s (%s)", w.at(a.StartsAt), span(e.At.Sub(a.StartsAt)))
	if a.State == oncall.StateResolved {
		state = fmt.Sprintf("fired at %s, resolved at %s", w.at(a.StartsAt), w.at(a.ResolvedAt))
	}
	w.line(1, a.Labels.Get(model.AlertNameLabel)+" "+withoutName(a.Labels))
	w.field("state", state)
	if !a.UnknownSince.IsZero() {
		w.field("unknown", fmt.Sprintf("its query has failed since %s: it may or may not still fire", w.at(a.UnknownSince)))
	}
	if !a.MutedSince.IsZero() {
		w.field("muted", strings.TrimSuffix(fmt.Sprintf("since %s: %s", w.at(a.MutedSince), a.MutedWhy), ": "))
	}
	w.field("because", a.Reason)
	ev := a.Evidence
	if value := firstOf(ev.Value, a.Value); value != "" {
		at := ""
		if !ev.At.IsZero() {
			at = ", asked at " + w.at(ev.At)
		}
		w.field("sample", ev.Metric.String()+" = "+value+at)
	}
	w.field("expression", ev.Expr)
	if ev.For > 0 {
		w.field("for", model.Duration(ev.For).String()) // as the rule has it, not rounded
	}
	if ev.File != "" {
		w.field("rule", fmt.Sprintf("group %s in %s, revision %s", ev.Group, ev.File, ev.RuleHash))
	}
	w.field("asked", ev.Backend)
	for _, name := range []string{"summary", "description", "runbook_url"} {
		w.field(strings.TrimSuffix(name, "_url"), a.Annotations[name])
	}
	w.field("graph", a.GeneratorURL)
	if len(a.Sources) > 1 {
		w.field("reported by", strings.Join(a.Sources, ", "))
	}
	for _, t := range steps {
		w.field("step", fmt.Sprintf("%s  %s → %s: %s", w.at(t.At), t.From, t.To, t.Reason))
	}
}

func (e Explanation) writeEscalation(w *writer) {
	v := e.Incident
	w.head("Why it came here")
	w.line(1, fmt.Sprintf("escalation %s: %s", v.Escalation, v.Why))
	if v.GroupLabels.IsEmpty() {
		w.line(1, "all alerts of this escalation are one incident")
	} else {
		w.line(1, "one incident per "+v.GroupLabels.String())
	}
	if v.LinkedFrom != 0 {
		w.line(1, fmt.Sprintf("goes on from #%d, which was closed by hand while its alerts fired", v.LinkedFrom))
	}
}

func (e Explanation) writeDeliveries(w *writer) {
	w.head("Who was told, and what the far ends answered")
	if len(e.Incident.Deliveries) == 0 {
		w.line(1, "nobody was told")
	}
	for _, d := range e.Incident.Deliveries {
		who := string(d.Endpoint)
		if d.Target != "" && d.Target != "slack "+d.Endpoint.Address() {
			who = d.Target + " at " + who
		}
		w.line(1, fmt.Sprintf("%s  %s to %s, %s round, %s tier: %s", w.at(d.CreatedAt), d.Kind, who, oncall.Nth(d.Round), oncall.Nth(d.Tier), outcome(w, d)))
		for _, a := range d.Attempts {
			w.line(3, w.at(a.At)+"  "+attemptText(a))
		}
	}
}

// outcome is where a delivery stands, and with whom it went.
func outcome(w *writer, d oncall.DeliveryView) string {
	s := arrival(w, d)
	if n := d.Others(); n > 0 {
		s += fmt.Sprintf(", together with %d more", n)
		if d.Bundle != "" {
			s += " in " + d.Bundle
		}
	}
	return s
}

func arrival(w *writer, d oncall.DeliveryView) string {
	if d.Bundle != "" && d.State == oncall.DeliveryQueued {
		return "being sent"
	}
	switch d.State {
	case oncall.DeliveryAccepted:
		return "accepted at " + w.at(d.DoneAt) + ", not confirmed"
	case oncall.DeliveryDelivered:
		if d.Confirmation == oncall.Confirmed {
			return "confirmed at " + w.at(d.DoneAt)
		}
		return "delivered at " + w.at(d.DoneAt)
	case oncall.DeliveryRefused:
		return "NOT DELIVERED, refused: " + d.Error
	case oncall.DeliveryDropped:
		return "not sent, no longer wanted"
	case oncall.DeliverySending:
		return "being sent"
	}
	if d.NextAt.IsZero() {
		return "waiting"
	}
	if len(d.Attempts) == 0 {
		return "waiting to be sent since " + w.at(d.NextAt)
	}
	return "NOT CONFIRMED, next attempt at " + w.at(d.NextAt)
}

func attemptText(a oncall.Attempt) string {
	s := fmt.Sprintf("attempt %d, %s: %s", a.Number, a.Took.Round(time.Millisecond), a.Outcome)
	if a.Status != 0 {
		s += fmt.Sprintf(", HTTP %d", a.Status)
	}
	if a.Error != "" {
		s += ": " + a.Error
	}
	if a.RetryAfter > 0 {
		s += ", asked to wait " + span(a.RetryAfter)
	}
	if a.Excerpt != "" {
		s += fmt.Sprintf(" – %q", a.Excerpt)
	}
	return s
}

// writeTimeline shows what happened beside the attempts, which are shown with their deliveries.
func (e Explanation) writeTimeline(w *writer) {
	w.head("What happened")
	shown := map[string]bool{}
	for _, d := range e.Incident.Deliveries {
		shown[d.Key] = true
	}
	for _, t := range e.Incident.Timeline {
		if t.Kind == oncall.EntryAttempt && shown[t.Delivery] {
			continue
		}
		text := t.Text
		if t.Actor != "" && !strings.Contains(text, t.Actor) {
			text = t.Actor + ": " + text
		}
		w.line(1, w.at(t.At)+"  "+text)
	}
}

func (e Explanation) next(w *writer) string {
	v := e.Incident
	switch {
	case !v.PausedSince.IsZero():
		return firstOf(v.Next, "paused") + "; it goes on where it stood when that ends for one of them, or when another joins"
	case v.NextAt.After(e.At):
		return fmt.Sprintf("at %s, in %s: %s", w.at(v.NextAt), span(v.NextAt.Sub(e.At)), firstOf(v.Next, "the next step"))
	case !v.NextAt.IsZero():
		return "now: " + firstOf(v.Next, "the next step")
	case v.State == oncall.IncidentTriggered:
		return "nothing by itself: everybody was told; it waits for an acknowledgement, or for its alerts to resolve"
	case v.State == oncall.IncidentResolved:
		return "nothing: it is over"
	}
	return "nothing by itself: it ends when its alerts resolve or somebody resolves it"
}

// writer lays out lines.
type writer struct {
	b   strings.Builder
	day string // times on it are shown without their date
}

func (w *writer) head(s string) { w.b.WriteByte('\n'); w.line(0, s) }

// line writes one line. Whatever a label or a far end put into it, it stays one line and moves no cursor.
func (w *writer) line(indent int, s string) {
	w.b.WriteString(strings.Repeat("  ", indent))
	for _, r := range strings.TrimSpace(s) {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			r = ' '
		}
		w.b.WriteRune(r)
	}
	w.b.WriteByte('\n')
}

// field writes a named value, if there is one.
func (w *writer) field(name, value string) {
	if value = strings.TrimSpace(value); value != "" {
		w.line(2, fmt.Sprintf("%-12s%s", name, value))
	}
}

// at is an instant, with its date only where that is not the trigger's.
func (w *writer) at(t time.Time) string {
	t = t.UTC()
	if t.Format(time.DateOnly) == w.day {
		return t.Format(clock)
	}
	return t.Format(dayClock)
}

func span(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return model.Duration(d.Round(time.Second)).String()
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func withoutName(ls labels.Labels) string {
	return labels.NewBuilder(ls).Del(model.AlertNameLabel).Labels().String()
}
