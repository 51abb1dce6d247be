package notifier

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// What incidents are told. An alert remembers which escalations know of it; whatever moves (a source, a
// silence, another alert, the clock, the configuration), review compares that with who should know, and
// says the difference. Only what the sources themselves report is passed on as it comes.

// want is an escalation that is to know of an alert.
type want struct {
	escalation string
	routed     bool   // a route leads there
	why        string // why it is told, where a route says so
	muted      string // why it must not be told now, "" if it may
}

// concerns reports whether what a source says is for the escalation: what a rule says of its own, what is
// posted for all.
func (w want) concerns(c oncall.AlertChange) bool {
	return w.routed || c.Escalation == w.escalation || c.Source == oncall.PostedSource
}

// wants returns who is to know of a firing alert: the escalations that its rules name, and those of the
// receivers to which its routes lead. Where there is no route, what a rule without an escalation says is left
// to oncall.PlaceAlert, under the name ""; so is what is posted, unless a rule says it too.
func (r *dispatchRun) wants(e *dispatched, now time.Time) []want {
	var all []want
	muted := r.mutedWhy(e, now)
	add := func(w want) {
		i := slices.IndexFunc(all, func(o want) bool { return o.escalation == w.escalation })
		if i < 0 {
			all = append(all, w)
			return
		}
		all[i].routed = all[i].routed || w.routed
		if w.muted == "" {
			all[i].muted = "" // one way that is open is enough
		}
	}
	for i := range e.a.Rules {
		if name := e.a.Rules[i].Escalation; name != "" || r.s.routing.Root == nil {
			add(want{escalation: name, muted: muted})
		}
	}
	for _, g := range e.groups {
		receiver, ok := r.s.setup.policy.Receivers[g.route.Receiver]
		if !ok || receiver.Escalation == "" {
			continue
		}
		w := want{escalation: receiver.Escalation, routed: true, muted: muted}
		w.why = fmt.Sprintf("the route %s leads to the receiver %s, whose escalation is %s", g.route.Key, receiver.Name, receiver.Escalation)
		if w.muted == "" {
			w.muted = r.routeMutedWhy(g.route, now)
		}
		add(w)
	}
	if len(all) == 0 && r.s.routing.Root == nil {
		add(want{muted: muted})
	}
	return all
}

// review tells the incidents what they do not know yet of an alert. at is when it came about; original says
// that it is what a source just reported.
func (r *dispatchRun) review(e *dispatched, at, now time.Time, original ...bool) {
	if !e.firing || e.gone || !e.a.Firing(now) { // that it ended may not have been seen yet, as after a start
		return
	}
	wants := r.wants(e, now)
	for _, w := range wants {
		told := e.toldOf(w.escalation)
		switch {
		case w.muted != "" && told == nil:
			e.heldBack = true
		case w.muted != "" && !told.Muted:
			r.mute(e, w, at)
		case w.muted == "" && told != nil && told.Muted, w.muted == "" && told == nil && e.hold == 0:
			for _, c := range r.sources(e, at) {
				if !w.concerns(c) {
					continue
				}
				if e.heldBack || len(original) == 0 || c.At.IsZero() {
					c.At = at // the trigger is now, not when it began behind the silence
				}
				r.say(e, addressed(c, w))
			}
			e.tell(w.escalation, false)
		}
	}
	for _, told := range e.a.Incidents { // those whose way there is gone keep the alert, and their silences
		if told.Muted || slices.ContainsFunc(wants, func(w want) bool { return w.escalation == told.Escalation }) {
			continue
		}
		if muted := r.mutedWhy(e, now); muted != "" {
			r.mute(e, want{escalation: told.Escalation, muted: muted}, at)
		}
	}
}

// sourceFires passes on that a source reports the alert: to those who know of it already, then to those who
// must learn of it.
func (r *dispatchRun) sourceFires(e *dispatched, c oncall.AlertChange, at time.Time) {
	wants := r.wants(e, at)
	for _, told := range e.a.Incidents {
		w := want{escalation: told.Escalation}
		if i := slices.IndexFunc(wants, func(o want) bool { return o.escalation == told.Escalation }); i >= 0 {
			w = wants[i]
		}
		if !w.concerns(c) {
			continue
		}
		c := addressed(c, w)
		if told.Muted { // it must know the source, or the end of another would end the alert there; and nobody is told
			if w.muted == "" {
				w.muted = r.mutedWhy(e, at)
			}
			c.Status, c.Reason = oncall.ChangeMuted, w.muted
		}
		r.say(e, c)
	}
	r.review(e, at, at, true)
}

// sourceEnds passes on that a source does not report the alert any more.
func (r *dispatchRun) sourceEnds(e *dispatched, c oncall.AlertChange) {
	if len(e.a.Incidents) > 0 {
		r.say(e, c)
	}
	if e.firing {
		return
	}
	e.heldBack = false
	if len(e.a.Incidents) > 0 {
		a := *e.a
		a.Incidents = nil
		e.a = &a
	}
}

// mute tells an incident that nobody is to be told of the alert for now.
func (r *dispatchRun) mute(e *dispatched, w want, at time.Time) {
	r.say(e, oncall.AlertChange{ // without a source: nobody reports anything new
		At: at, Status: oncall.ChangeMuted, Labels: e.a.Labels, StartsAt: time.UnixMicro(e.a.StartsAt).UTC(),
		Escalation: w.escalation, Why: w.why, Reason: w.muted,
	})
	e.tell(w.escalation, true)
}

// say has a change handed to the incidents by the next commit.
func (r *dispatchRun) say(e *dispatched, c oncall.AlertChange) {
	if len(e.out) == 0 {
		r.s.talking = append(r.s.talking, e)
	}
	e.out = append(e.out, c)
	r.metrics.changes.WithLabelValues(string(c.Status)).Inc()
}

// toldOf returns what the escalation was last told of the alert, nil: nothing.
func (e *dispatched) toldOf(escalation string) *oncall.IncidentTold {
	for i := range e.a.Incidents {
		if e.a.Incidents[i].Escalation == escalation {
			return &e.a.Incidents[i]
		}
	}
	return nil
}

// tell notes what the escalation was told.
func (e *dispatched) tell(escalation string, muted bool) {
	a := *e.a
	a.Incidents = slices.Clone(a.Incidents)
	i := slices.IndexFunc(a.Incidents, func(t oncall.IncidentTold) bool { return t.Escalation == escalation })
	if i < 0 {
		a.Incidents = append(a.Incidents, oncall.IncidentTold{Escalation: escalation})
		i = len(a.Incidents) - 1
	}
	a.Incidents[i].Muted = muted
	e.a = &a
}

// sources returns what each source that reports the alert says.
func (r *dispatchRun) sources(e *dispatched, at time.Time) []oncall.AlertChange {
	all := slices.Clone(e.a.Rules)
	if e.posted {
		all = append(all, postedChange(e, at))
	}
	return all
}

// addressed returns the change as the escalation is told of it.
func addressed(c oncall.AlertChange, w want) oncall.AlertChange {
	if c.Escalation != w.escalation {
		c.Escalation, c.Why = w.escalation, w.why
		if c.Why == "" && w.escalation != "" {
			c.Why = "a rule that fires the same alert names the escalation " + w.escalation
		}
	}
	return c
}

func postedChange(e *dispatched, at time.Time) oncall.AlertChange {
	c := oncall.AlertChange{
		At: at, Source: oncall.PostedSource, Status: oncall.ChangeFiring, Labels: e.a.Labels, GeneratorURL: e.a.GeneratorURL,
		StartsAt: time.UnixMicro(e.a.StartsAt).UTC(), Reason: "reported firing by Prometheus",
	}
	if e.a.Annotations.Len() > 0 {
		c.Annotations = e.a.Annotations.Map()
	}
	return c
}

// mutedWhy says why nobody is to be told of an alert, "" if nothing mutes it.
func (r *dispatchRun) mutedWhy(e *dispatched, now time.Time) string {
	if e.silenced {
		for _, at := range []time.Time{now, r.sweptAt} { // now may be when a row was received
			if ids := r.silences.Muting(e.a.Labels, at); len(ids) > 0 {
				return silencedText(r.silences, ids[0])
			}
		}
	}
	if e.inhibited {
		if by, ok := r.s.inhibitor.Inhibited(e.a.Fingerprint, e.a.Labels); ok {
			return "inhibited" + r.inhibitedText(by)
		}
	}
	return ""
}

func silencedText(set *oncall.SilenceSet, id string) string {
	s, ok := set.Get(id)
	if !ok {
		return "silenced"
	}
	text := "silenced until " + s.EndsAt.UTC().Format("2006-01-02 15:04 MST")
	if s.CreatedBy != "" {
		text += " by " + s.CreatedBy
	}
	if s.Comment != "" {
		text += ": " + s.Comment
	}
	return text
}

func (r *dispatchRun) inhibitedText(by []uint64) string {
	for _, fp := range by {
		if source := r.s.alerts[fp]; source != nil {
			return " by " + briefly(source.a.Labels)
		}
	}
	return ""
}

// briefly names an alert for people.
func briefly(ls labels.Labels) string {
	if name := ls.Get(model.AlertNameLabel); name != "" {
		return name
	}
	return ls.String()
}

// routeMutedWhy says by which time intervals a route is muted, "" if it is not.
func (r *dispatchRun) routeMutedWhy(route *oncall.Route, now time.Time) string {
	if len(route.MuteTimeIntervals)+len(route.ActiveTimeIntervals) == 0 {
		return ""
	}
	names, muted := r.s.routing.MutedAt(route, now)
	if !muted {
		return ""
	}
	return "muted by the time interval " + strings.Join(names, ", ") + " of its route"
}
