package web

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"tocsin/oncall"
)

// consoleList bounds how many ended incidents the list shows.
const consoleList = 50

// listPage is the console's first page.
type listPage struct {
	layout
	Open  []oncall.IncidentView // newest first
	Ended []oncall.IncidentView
	Pulse string // how the heartbeats stand, "" for none
}

// incidentPage is one incident with all that is known of it.
type incidentPage struct {
	layout
	Incident oncall.IncidentView
	Why      string
	Said     string // what the last press did
	Buttons  []button
	AskName  bool // nobody is authenticated, so the form asks who acts
	Users    []string
}

// button is one press that the incident's state allows.
type button struct{ Action, Label string }

func (w *Web) showIncidents(rw http.ResponseWriter, r *http.Request) {
	open, err := w.o.Acts.Incidents(r.Context(), oncall.IncidentFilter{Limit: maxList,
		States: []oncall.IncidentState{oncall.IncidentTriggered, oncall.IncidentAcknowledged, oncall.IncidentSnoozed}})
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	ended, err := w.o.Acts.Incidents(r.Context(), oncall.IncidentFilter{Limit: consoleList,
		States: []oncall.IncidentState{oncall.IncidentResolved}})
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	// What nobody has taken yet comes first; the order within stays.
	slices.SortStableFunc(open, func(a, b oncall.Incident) int { return waiting(b) - waiting(a) })
	p := listPage{layout: w.layout(r, "Incidents")}
	p.Refresh = 15
	p.Pulse = w.heartbeatLine(r.Context())
	for _, in := range open {
		p.Open = append(p.Open, w.view(in))
	}
	for _, in := range ended {
		p.Ended = append(p.Ended, w.view(in))
	}
	w.pages.render(rw, http.StatusOK, "incidents.html", p)
}

func waiting(in oncall.Incident) int {
	if in.State == oncall.IncidentTriggered {
		return 1
	}
	return 0
}

func (w *Web) showIncident(rw http.ResponseWriter, r *http.Request) {
	w.drawIncident(rw, r, http.StatusOK, "")
}

// drawIncident draws the page of one incident; said is what a press has just done.
func (w *Web) drawIncident(rw http.ResponseWriter, r *http.Request, status int, said string) {
	number, err := parseNumber(r.PathValue("number"))
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	in, err := w.o.Acts.Incident(r.Context(), number)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	p := incidentPage{layout: w.layout(r, fmt.Sprintf("#%d %s", in.Number, in.Title)),
		Incident: w.view(in), Said: said, Buttons: buttons(in.State)}
	slices.Reverse(p.Incident.Timeline) // the newest is what a reader looks for
	if p.Why, err = w.o.Acts.Why(r.Context(), number); err != nil {
		w.o.Logger.Error("An incident could not be explained", "incident", number, "err", err)
		p.Why = "The explanation cannot be read just now."
	}
	if _, required := w.o.User(r); !required {
		p.AskName = true
		for name := range w.o.Policy().Users {
			p.Users = append(p.Users, name)
		}
		slices.Sort(p.Users)
	}
	w.pages.render(rw, status, "incident.html", p)
}

func buttons(s oncall.IncidentState) []button {
	resolve := button{string(oncall.CmdResolve), "Resolve"}
	switch s {
	case oncall.IncidentTriggered:
		return []button{{string(oncall.CmdAcknowledge), "Acknowledge"}, resolve}
	case oncall.IncidentAcknowledged, oncall.IncidentSnoozed:
		return []button{{string(oncall.CmdUnacknowledge), "Unacknowledge"}, resolve}
	}
	return nil
}

// pressed is a button of the console. It answers by a redirect, so that a reload of the page presses
// nothing; a refusal is shown on the page itself.
func (w *Web) pressed(rw http.ResponseWriter, r *http.Request) {
	number, err := parseNumber(r.PathValue("number"))
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	kind := oncall.CommandKind(r.PathValue("action"))
	if kind == silenceAction.kind {
		w.pressedSilence(rw, r, number)
		return
	}
	if kind != oncall.CmdAcknowledge && kind != oncall.CmdUnacknowledge && kind != oncall.CmdResolve {
		w.notFound(rw, r)
		return
	}
	r.Body = http.MaxBytesReader(rw, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); !tooLarge {
			err = oncall.Errorf(oncall.CodeInvalid, "the form could not be read")
		}
		w.fail(rw, r, err)
		return
	}
	actor, err := w.actor(r, strings.TrimSpace(r.PostForm.Get("user")), "console")
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	d, err := w.o.Acts.Act(r.Context(), number, oncall.Command{Kind: kind, Actor: actor, Via: "console"}, "")
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	if d.Refused {
		w.drawIncident(rw, r, http.StatusConflict, d.Reply)
		return
	}
	rw.Header().Set("Location", "../"+strconv.FormatInt(number, 10)) // relative: a proxy may have cut the path
	rw.WriteHeader(http.StatusSeeOther)
}
