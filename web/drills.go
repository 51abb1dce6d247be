package web

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// Drills is how people try whether contacts work: *notifier.Drills.
type Drills interface {
	// Start begins a drill of each user, once per request ("" for requests without an identity). Codes: not_found for
	// a user who is unknown, invalid, unavailable.
	Start(ctx context.Context, w notifier.DrillWish, request string) ([]notifier.DrillStarted, error)
	// List returns drills below a number (0: all), newest first.
	List(ctx context.Context, before int64, limit int) ([]oncall.Incident, error)
	// Drill returns one drill, or not_found.
	Drill(ctx context.Context, number int64) (oncall.Incident, error)
	// Checks returns what the latest drills found out about the contacts that are configured.
	Checks(ctx context.Context) ([]oncall.ContactCheck, error)
}

// drillAction names the fields of a wish for drills.
var drillAction = action{kind: "drill", fields: []string{"users", "daytime"}}

// drillView is a drill as the API shows it.
type drillView struct {
	Number   int64                 `json:"number"`
	Drilled  string                `json:"drilled"` // the user
	By       string                `json:"by"`
	Job      string                `json:"job,omitempty"`
	At       time.Time             `json:"at"`
	EndedAt  time.Time             `json:"ended_at,omitzero"` // absent while it goes on
	Contacts []oncall.ContactCheck `json:"contacts"`
	Failed   int                   `json:"failed"` // of the contacts
	URL      string                `json:"url,omitempty"`
}

// drillsBegun is the answer to a wish for drills.
type drillsBegun struct {
	Drills []notifier.DrillStarted `json:"drills"`
}

func (w *Web) drillRoutes() []route {
	return []route{
		{"GET", apiBase + "/drills", w.withDrills(w.listDrills)},
		{"POST", apiBase + "/drills", w.withDrills(w.startDrills)},
		{"GET", apiBase + "/drills/{number}", w.withDrills(w.getDrill)},
		{"GET", apiBase + "/contacts", w.withDrills(w.listContacts)},
	}
}

// withDrills answers for a process that begins none.
func (w *Web) withDrills(h http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		if w.o.Drills == nil {
			w.fail(rw, r, oncall.Errorf(oncall.CodeUnavailable, "there are no drills here"))
			return
		}
		h(rw, r)
	}
}

func (w *Web) viewDrill(in oncall.Incident) drillView {
	v := drillView{Number: in.Number, At: in.TriggeredAt.UTC(), Contacts: []oncall.ContactCheck{}, URL: w.view(in).URL}
	if !in.ResolvedAt.IsZero() {
		v.EndedAt = in.ResolvedAt.UTC()
	}
	if d := in.Drill; d != nil {
		v.Drilled, v.By, v.Job = d.User, d.By, d.Job
		for _, c := range d.Contacts {
			v.Contacts = append(v.Contacts, c)
			if c.Result == oncall.CheckFailed {
				v.Failed++
			}
		}
	}
	return v
}

func (w *Web) listDrills(rw http.ResponseWriter, r *http.Request) {
	limit, before := 100, int64(0)
	q := r.URL.Query()
	err := known(q, "limit", "before")
	if text := q.Get("limit"); err == nil && text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxList {
			err = oncall.Errorf(oncall.CodeInvalid, "limit %q is no number from 1 to %d", text, maxList)
		}
	}
	if text := q.Get("before"); err == nil && text != "" {
		before, err = parseNumber(text)
	}
	var list []oncall.Incident
	if err == nil {
		list, err = w.o.Drills.List(r.Context(), before, limit)
	}
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	views := []drillView{}
	for _, in := range list {
		views = append(views, w.viewDrill(in))
	}
	w.writeJSON(rw, http.StatusOK, views)
}

func (w *Web) getDrill(rw http.ResponseWriter, r *http.Request) {
	number, err := parseNumber(r.PathValue("number"))
	var in oncall.Incident
	if err == nil {
		in, err = w.o.Drills.Drill(r.Context(), number)
	}
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	w.writeJSON(rw, http.StatusOK, w.viewDrill(in))
}

// listContacts answers what the latest drills found out.
func (w *Web) listContacts(rw http.ResponseWriter, r *http.Request) {
	all, err := w.o.Drills.Checks(r.Context())
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	if all == nil {
		all = []oncall.ContactCheck{}
	}
	w.writeJSON(rw, http.StatusOK, all)
}

// startDrills begins drills: of the users in "users", of everybody where it is absent.
func (w *Web) startDrills(rw http.ResponseWriter, r *http.Request) {
	request, err := identityOf(r)
	var b body
	if err == nil {
		b, err = readBody(http.MaxBytesReader(rw, r.Body, maxBody), drillAction)
	}
	wish := notifier.DrillWish{Via: "api"}
	if err == nil {
		err = readWish(b, &wish)
	}
	var given string
	if err == nil {
		given, err = b.text("user")
	}
	if err == nil {
		wish.Actor, err = w.actor(r, given, anonymous)
	}
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	if request != "" { // two people may choose the same key
		request = "api " + wish.Actor + " " + request
	}
	started, err := w.o.Drills.Start(r.Context(), wish, request)
	if oncall.ErrorCode(err) == oncall.CodeNotFound { // the path is right, what the body names is not
		err = oncall.Errorf(oncall.CodeInvalid, "%v", err)
	}
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	w.writeJSON(rw, http.StatusOK, drillsBegun{started})
}

// readWish reads whom a wish is about.
func readWish(b body, w *notifier.DrillWish) error {
	if raw, ok := b["users"]; ok {
		if err := json.Unmarshal(raw, &w.Users); err != nil || len(w.Users) == 0 {
			return oncall.Errorf(oncall.CodeInvalid, `users must be a list of names such as ["ana"]; leave it out to drill everybody`)
		}
	}
	if raw, ok := b["daytime"]; ok {
		if err := json.Unmarshal(raw, &w.Daytime); err != nil {
			return oncall.Errorf(oncall.CodeInvalid, "daytime must be true or false")
		}
	}
	return nil
}
