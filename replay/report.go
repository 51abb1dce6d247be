package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"tocsin/oncall"
)

// Report is what WriteJSON writes, and what people read with WriteText.
type Report struct {
	Escalation string               `json:"escalation"`
	At         time.Time            `json:"at"`
	For        string               `json:"for"` // a duration such as "2h0m0s"
	Severity   string               `json:"severity"`
	Timeline   []Step               `json:"timeline"`
	Reached    *ReachedAfter        `json:"reached"` // null: no person was reached
	State      oncall.IncidentState `json:"state"`   // at the end
	Next       string               `json:"next,omitempty"`
	NextAt     time.Time            `json:"next_at,omitzero"`
	Replies    []string             `json:"replies,omitempty"` // to those who acknowledged

	aside map[string]bool // deliveries that only tell what is: not shown to people where they arrive
}

// Step is a line of the timeline, and how long after the trigger it is, in seconds.
type Step struct {
	After float64 `json:"after_seconds"`
	oncall.TimelineEntry
}

// ReachedAfter is when the first person was reached, in seconds after the trigger.
type ReachedAfter struct {
	Reached
	After float64 `json:"after_seconds"`
}

// NewReport puts a run into the form that is shown.
func NewReport(s Scenario, r Run) Report {
	out := Report{
		Escalation: s.Escalation, At: s.At, For: s.For.String(), Severity: s.Labels.Get("severity"),
		State: r.Incident.State, Next: r.Incident.Next, NextAt: r.Incident.NextStepAt, Replies: r.Replies, aside: map[string]bool{},
	}
	for _, d := range r.Incident.Deliveries {
		if d.Kind == oncall.KindReply && d.Target == "" && d.State == oncall.DeliveryDelivered && d.Attempts == 1 {
			out.aside[d.Key] = true
		}
	}
	for _, e := range r.Timeline {
		out.Timeline = append(out.Timeline, Step{e.At.Sub(s.At).Seconds(), e})
	}
	if r.Reached != nil {
		out.Reached = &ReachedAfter{*r.Reached, r.Reached.At.Sub(s.At).Seconds()}
	}
	return out
}

// WriteJSON writes the report as one indented object.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteText writes the report for people, in the zone of At. Of a delivery that is tried again and again it shows
// the first attempt and the last, and it leaves out replies in threads that only tell what is.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	severity := ""
	if r.Severity != "" {
		severity = ", severity " + r.Severity
	}
	fmt.Fprintf(&b, "%s, triggered at %s%s\n\n", r.Escalation, r.At.Format("Mon 2 Jan 2006 15:04:05 MST"), severity)
	attempts := map[string]int{} // by key of a delivery
	for _, s := range r.Timeline {
		attempts[s.Delivery]++
	}
	seen := map[string]int{}
	last := ""
	for _, s := range r.Timeline {
		if r.aside[s.Delivery] {
			continue
		}
		if s.Delivery != "" {
			seen[s.Delivery]++
			if n := seen[s.Delivery]; n > 1 && n < attempts[s.Delivery] {
				continue
			}
		}
		at := clock(r.At, s.At)
		if at == last {
			at = ""
		} else {
			last = at
		}
		who := ""
		if s.Actor != "" {
			who = s.Actor + ": "
		}
		fmt.Fprintf(&b, "%-28s  %s%s\n", at, who, s.Text)
	}
	b.WriteString("\n")
	for _, reply := range r.Replies {
		fmt.Fprintf(&b, "Answer to who acknowledged: %s.\n", reply)
	}
	b.WriteString(r.summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// summary says when a person was reached, and what is next.
func (r Report) summary() string {
	text := "No person is reached"
	if r.Reached != nil {
		text = fmt.Sprintf("The first person is reached after %s: %s", short(time.Duration(r.Reached.After*float64(time.Second))), r.Reached.Target)
	} else if d, err := time.ParseDuration(r.For); err == nil {
		text += " within " + short(d)
	}
	text += fmt.Sprintf(".\nIn the end the incident is %s", r.State)
	switch {
	case r.Next == "":
	case r.NextAt.IsZero():
		text += "; next: " + r.Next
	default:
		text += fmt.Sprintf("; next, at %s: %s", strings.Join(strings.Fields(clock(r.At, r.NextAt)), ", "), r.Next)
	}
	return text + ".\n"
}

// clock writes an instant as the time since the trigger and the time of day: "+2m      13:02:00"; with the day where
// it is another.
func clock(from, at time.Time) string {
	at = at.In(from.Location())
	day := at.Format("15:04:05")
	if at.YearDay() != from.YearDay() || at.Year() != from.Year() {
		day = at.Format("Mon 2 Jan 15:04:05")
	}
	return fmt.Sprintf("%-8s %s", "+"+short(at.Sub(from)), day)
}

// short writes a duration for people: "2m", "1h30m".
func short(d time.Duration) string {
	s := d.Round(time.Millisecond).String()
	for _, z := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, z) {
			s = s[:len(s)-2]
		}
	}
	return s
}
