package web

import (
	"fmt"
	"net/http"

	"tocsin/oncall"
)

// escalatePage is what the page behind an escalate link shows.
type escalatePage struct {
	layout
	Incident oncall.IncidentView
	Token    string // of the acknowledge link beside it
	Who      string // as whom the link acts
	Outcome  string // what a press did; "" while it is still asked for
	CanAsk   bool
}

// askEscalate shows the page that asks whether the next tier is to be told now. As an acknowledge link's page it never
// acts.
func (w *Web) askEscalate(rw http.ResponseWriter, r *http.Request) {
	if in, d, ok := w.linkedAlone(rw, r); ok {
		w.escalatePage(rw, r, http.StatusOK, in, d, "")
	}
}

// escalateByLink tells the next tier, if the incident stands where it stood when its page was written: a second press,
// or one on an old page, changes nothing and shows how it stands.
func (w *Web) escalateByLink(rw http.ResponseWriter, r *http.Request) {
	in, d, ok := w.linkedAlone(rw, r)
	if !ok {
		return
	}
	decision, err := w.o.Acts.Act(r.Context(), in.Number, oncall.Command{
		Kind: oncall.CmdEscalate, Actor: linkActor(d) + " by link", Via: "link", Delivery: d.Key, Seen: &oncall.Seen{Round: d.Round, Tier: d.Tier}}, "")
	if err != nil {
		w.o.Logger.Error("An escalation by link failed", "incident", in.Number, "err", err)
		w.pages.message(rw, statusOf(oncall.ErrorCode(err)), w.layout(r, "Not escalated"), fmt.Sprintf("Incident #%d could not be escalated just now. Go back and press again.", in.Number))
		return
	}
	if after, err := w.o.Acts.Incident(r.Context(), in.Number); err == nil {
		in = after
	}
	status := http.StatusOK
	if decision.Refused { // an app whose button this was shows that it did nothing
		status = http.StatusConflict
	}
	w.escalatePage(rw, r, status, in, d, decision.Reply)
}

func (w *Web) escalatePage(rw http.ResponseWriter, r *http.Request, status int, in oncall.Incident, d oncall.Delivery, said string) {
	p := escalatePage{layout: w.layout(r, fmt.Sprintf("#%d %s", in.Number, in.Title)), Incident: w.view(in), Token: r.PathValue("token"),
		Who: linkActor(d), Outcome: said}
	p.CanAsk = in.State == oncall.IncidentTriggered && said == ""
	if said == "" && in.State != oncall.IncidentTriggered {
		p.Outcome = outcome(in)
	}
	w.pages.render(rw, status, "escalate.html", p)
}

// linkedAlone is linked for what is about one incident.
func (w *Web) linkedAlone(rw http.ResponseWriter, r *http.Request) (oncall.Incident, oncall.Delivery, bool) {
	if _, ok := w.bundled(r); ok {
		w.pages.message(rw, http.StatusConflict, w.layout(r, "Which one?"), "This page went for several incidents. Escalate each where it is shown.")
		return oncall.Incident{}, oncall.Delivery{}, false
	}
	return w.linked(rw, r)
}
