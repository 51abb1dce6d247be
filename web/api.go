package web

import (
	"net/http"
	"strconv"
	"strings"

	"tocsin/oncall"
)

// maxList bounds how many incidents one answer lists; page on with before.
const maxList = 1000

// states are those that a list can be narrowed to.
var states = []oncall.IncidentState{
	oncall.IncidentTriggered, oncall.IncidentAcknowledged, oncall.IncidentSnoozed, oncall.IncidentResolved,
}

// why is the answer to "why does this incident exist": a text for people.
type why struct {
	Number int64  `json:"number"`
	Text   string `json:"text"`
}

func (w *Web) listIncidents(rw http.ResponseWriter, r *http.Request) {
	f, err := filterOf(r)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	list, err := w.o.Acts.Incidents(r.Context(), f)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	views := make([]oncall.IncidentView, 0, len(list))
	for _, in := range list {
		views = append(views, w.view(in))
	}
	w.writeJSON(rw, http.StatusOK, views)
}

// filterOf reads state (repeated or separated by commas), limit and before. "open" stands for every state
// but resolved.
func filterOf(r *http.Request) (oncall.IncidentFilter, error) {
	f := oncall.IncidentFilter{Limit: 100}
	for key, values := range r.URL.Query() {
		for _, v := range values {
			var err error
			switch key {
			case "state":
				f.States, err = appendStates(f.States, v)
			case "limit":
				f.Limit, err = strconv.Atoi(v)
				if err != nil || f.Limit < 1 || f.Limit > maxList {
					err = oncall.Errorf(oncall.CodeInvalid, "limit %q is no number from 1 to %d", v, maxList)
				}
			case "before":
				f.Before, err = parseNumber(v)
			case "drill":
				if f.Drills, err = strconv.ParseBool(v); err != nil {
					err = oncall.Errorf(oncall.CodeInvalid, "drill: expected true or false, found %q", v)
				}
			default:
				err = oncall.Errorf(oncall.CodeInvalid, "unknown parameter %q; known: state, limit, before, drill", key)
			}
			if err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

func appendStates(to []oncall.IncidentState, list string) ([]oncall.IncidentState, error) {
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		found := name == "open"
		for _, s := range states {
			if string(s) == name || name == "open" && s != oncall.IncidentResolved {
				to, found = append(to, s), true
			}
		}
		if !found {
			return nil, oncall.Errorf(oncall.CodeInvalid,
				"unknown state %q; known: triggered, acknowledged, snoozed, resolved, and open for the first three", name)
		}
	}
	return to, nil
}

// parseNumber reads an incident's number as people write it: 42 or #42.
func parseNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimPrefix(strings.TrimSpace(s), "#"), 10, 64)
	if err != nil || n < 1 {
		return 0, oncall.Errorf(oncall.CodeInvalid, "%q is no incident number such as 42", s)
	}
	return n, nil
}

func (w *Web) getIncident(rw http.ResponseWriter, r *http.Request) {
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
	w.writeJSON(rw, http.StatusOK, w.view(in))
}

func (w *Web) getWhy(rw http.ResponseWriter, r *http.Request) {
	number, err := parseNumber(r.PathValue("number"))
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	text, err := w.o.Acts.Why(r.Context(), number)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	w.writeJSON(rw, http.StatusOK, why{Number: number, Text: text})
}

func (w *Web) getOpenAPI(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", "application/yaml")
	http.ServeFileFS(rw, r, files, "openapi.yaml")
}

// view is an incident as the API shows it.
func (w *Web) view(in oncall.Incident) oncall.IncidentView {
	return oncall.View(in, strings.TrimSuffix(w.o.ExternalURL.String(), "/"))
}
