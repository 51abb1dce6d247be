package web

import (
	"fmt"
	"net/http"

	"tocsin/oncall"
)

// ackPage is what the page behind an acknowledge link shows.
type ackPage struct {
	layout
	Incident oncall.IncidentView
	Token    string // of the link
	Who      string // as whom the link acts
	Outcome  string // what a press did; "" while it is still asked for
	CanAck   bool
}

// askAck shows the page that asks. It never acts: mail gateways and chat clients open links by themselves.
func (w *Web) askAck(rw http.ResponseWriter, r *http.Request) {
	if carrier, ok := w.bundled(r); ok {
		w.ackBundle(rw, r, carrier)
		return
	}
	in, d, ok := w.linked(rw, r)
	if !ok {
		return
	}
	p := ackPage{layout: w.layout(r, fmt.Sprintf("#%d %s", in.Number, in.Title)), Incident: w.view(in), Token: r.PathValue("token"), Who: linkActor(d)}
	p.CanAck = in.State == oncall.IncidentTriggered
	if !p.CanAck {
		p.Outcome = outcome(in)
	}
	w.pages.render(rw, http.StatusOK, "ack.html", p)
}

// ackByLink acknowledges. A repeat changes nothing and shows what became of it.
func (w *Web) ackByLink(rw http.ResponseWriter, r *http.Request) {
	if carrier, ok := w.bundled(r); ok {
		w.ackBundle(rw, r, carrier)
		return
	}
	in, d, ok := w.linked(rw, r)
	if !ok {
		return
	}
	decision, err := w.o.Acts.Act(r.Context(), in.Number, oncall.Command{
		Kind: oncall.CmdAcknowledge, Actor: linkActor(d) + " by link", Via: "link", Delivery: d.Key}, "")
	if err != nil {
		w.o.Logger.Error("An acknowledgement by link failed", "incident", in.Number, "err", err)
		w.pages.message(rw, statusOf(oncall.ErrorCode(err)), w.layout(r, "Not acknowledged"), fmt.Sprintf("Incident #%d could not be acknowledged just now. Go back and press again.", in.Number))
		return
	}
	if after, err := w.o.Acts.Incident(r.Context(), in.Number); err == nil {
		in = after
	}
	p := ackPage{layout: w.layout(r, fmt.Sprintf("#%d %s", in.Number, in.Title)), Incident: w.view(in), Token: r.PathValue("token"), Who: linkActor(d), Outcome: decision.Reply}
	if p.Outcome == "" {
		p.Outcome = outcome(in)
	}
	w.pages.render(rw, http.StatusOK, "ack.html", p)
}

// linked finds the delivery and the incident of a link. Where there is none, or the incident has ended, it
// has answered already.
func (w *Web) linked(rw http.ResponseWriter, r *http.Request) (oncall.Incident, oncall.Delivery, bool) {
	key, ok := oncall.CheckLink(w.o.Policy().LinkKey, r.PathValue("token"))
	key, _ = oncall.BundleLink(key)
	if !ok {
		w.pages.message(rw, http.StatusNotFound, w.layout(r, "No such link"), "This is not a link that tocsin has sent. Was it copied whole?")
		return oncall.Incident{}, oncall.Delivery{}, false
	}
	if oncall.IsTestKey(key) {
		w.pages.message(rw, http.StatusOK, w.layout(r, "The link works"), "It came with a test page. Nothing is wrong, and there is nothing to acknowledge.")
		return oncall.Incident{}, oncall.Delivery{}, false
	}
	d, err := w.o.Store.Delivery(r.Context(), key)
	var in oncall.Incident
	if err == nil {
		in, err = w.o.Acts.Incident(r.Context(), d.Incident)
	}
	switch {
	case oncall.ErrorCode(err) == oncall.CodeNotFound:
		w.pages.message(rw, http.StatusGone, w.layout(r, "The incident is over"), "What this link belongs to has ended and is no longer kept.")
		return in, d, false
	case err != nil:
		w.o.Logger.Error("The incident of a link could not be read", "err", err)
		w.pages.message(rw, http.StatusServiceUnavailable, w.layout(r, "Not now"), "The incident cannot be read just now. Load this page again.")
		return in, d, false
	case !in.Open():
		w.pages.message(rw, http.StatusGone, w.layout(r, fmt.Sprintf("Incident #%d is over", in.Number)), outcome(in))
		return in, d, false
	}
	return in, d, true
}

// linkActor is in whose name a link acts: the user it was sent to, else the target that was told.
func linkActor(d oncall.Delivery) string {
	if d.User != "" {
		return d.User
	}
	return d.Target
}

// outcome is where an incident stands, as a sentence.
func outcome(in oncall.Incident) string {
	switch in.State {
	case oncall.IncidentAcknowledged:
		return fmt.Sprintf("Acknowledged by %s at %s.", in.AcknowledgedBy, clock(in.AcknowledgedAt))
	case oncall.IncidentSnoozed:
		return fmt.Sprintf("Snoozed until %s.", clock(in.SnoozedUntil))
	case oncall.IncidentResolved:
		if in.ResolvedBy != "" {
			return fmt.Sprintf("Resolved by %s at %s.", in.ResolvedBy, clock(in.ResolvedAt))
		}
		return fmt.Sprintf("Resolved at %s: its alerts have ended.", clock(in.ResolvedAt))
	}
	return "Nobody has acknowledged it yet."
}
