package web

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// shownDrills bounds how many past drills the page lists.
const shownDrills = 20

// drillsPage is what is known of everybody's contacts, and the latest drills.
type drillsPage struct {
	layout
	People  []drilledPerson // those with a broken contact first, then those who were never drilled
	Broken  []oncall.ContactCheck
	Never   int // contacts that no drill has tried
	Works   int // contacts that worked in their last drill
	Going   int // contacts of which a drill under way has not found out
	Latest  []drillView
	Said    string
	Wrong   bool
	AskName bool
	Users   []string
}

// drilledPerson is a user with their contacts.
type drilledPerson struct {
	Name     string
	Contacts []drilledContact
	Failed   int // of Contacts
	Never    int // of Contacts, tried by no drill
	Going    int // of Contacts, being tried
}

// drilledContact is one endpoint behind a contact; Check has no user where no drill has tried it.
type drilledContact struct {
	oncall.ContactEndpoint
	Check oncall.ContactCheck
}

func (w *Web) drillPages() []route {
	return []route{
		{"GET", "/drills", w.withDrills(w.showDrills)},
		{"POST", "/drills", w.withDrills(w.pressedDrill)},
	}
}

func (w *Web) showDrills(rw http.ResponseWriter, r *http.Request) {
	w.drawDrills(rw, r, http.StatusOK, drillsPage{layout: w.layout(r, "Drills")})
}

func (w *Web) drawDrills(rw http.ResponseWriter, r *http.Request, status int, p drillsPage) {
	checks, err := w.o.Drills.Checks(r.Context())
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	latest, err := w.o.Drills.List(r.Context(), 0, shownDrills)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	going := map[string][]oncall.ContactCheck{} // what drills under way have found out so far, by user
	for _, in := range latest {
		p.Latest = append(p.Latest, w.viewDrill(in))
		if in.Open() && in.Drill != nil {
			p.Refresh = 15 // else it would take away, for nothing, what somebody is typing
			going[in.Drill.User] = in.Drill.Contacts
		}
	}
	policy := w.o.Policy()
	for _, name := range policy.Reachable() {
		person := drilledPerson{Name: name}
		for _, e := range policy.ContactEndpoints(name) {
			c := drilledContact{ContactEndpoint: e}
			for _, known := range [][]oncall.ContactCheck{checks, going[name]} {
				if i := slices.IndexFunc(known, func(c oncall.ContactCheck) bool { return c.User == name && c.Endpoint == e.Endpoint }); i >= 0 {
					c.Check = known[i]
				}
			}
			person.Contacts = append(person.Contacts, c)
			switch {
			case c.Never():
				person.Never++
			case c.Broken():
				person.Failed++
				p.Broken = append(p.Broken, c.Check)
			case c.Going():
				person.Going++
				p.Going++
			default:
				p.Works++
			}
		}
		p.Never += person.Never
		p.People = append(p.People, person)
	}
	slices.SortStableFunc(p.People, func(a, b drilledPerson) int {
		return cmp.Or(cmp.Compare(min(b.Failed, 1), min(a.Failed, 1)), cmp.Compare(min(b.Never, 1), min(a.Never, 1)))
	})
	p.AskName, p.Users = w.askName(r)
	w.pages.render(rw, status, "drills.html", p)
}

// pressedDrill begins a drill of one user. It says on the page itself what came of it.
func (w *Web) pressedDrill(rw http.ResponseWriter, r *http.Request) {
	actor, err := w.presser(rw, r)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	p := drillsPage{layout: w.layout(r, "Drills")}
	user, status := strings.TrimSpace(r.PostForm.Get("drilled")), http.StatusOK
	var started []notifier.DrillStarted
	if user == "" {
		err = oncall.Errorf(oncall.CodeInvalid, "whom? Choose a user")
	} else {
		started, err = w.o.Drills.Start(r.Context(), notifier.DrillWish{Users: []string{user}, Actor: actor, Via: "console"}, "")
	}
	switch code := oncall.ErrorCode(err); {
	case code == oncall.CodeInvalid || code == oncall.CodeNotFound:
		p.Said, p.Wrong, status = err.Error(), true, http.StatusBadRequest
	case err != nil:
		w.fail(rw, r, err)
		return
	case started[0].Refused != "":
		p.Said, p.Wrong, status = started[0].Refused, true, http.StatusConflict
	default:
		p.Said = fmt.Sprintf("The drill #%d of %s has begun: every contact is told at once. It ends when each was answered or has failed, after %d minutes at most.",
			started[0].Number, user, int(oncall.DrillLasts/time.Minute))
	}
	w.drawDrills(rw, r, status, p)
}

// Never reports that no drill has tried the contact.
func (c drilledContact) Never() bool { return c.Check.User == "" }

// Broken reports that the latest drill has failed, also where it is still under way.
func (c drilledContact) Broken() bool { return c.Check.Result == oncall.CheckFailed || c.Check.Refused }

// Going reports that a drill is under way and has not found out whether the contact works.
func (c drilledContact) Going() bool {
	return !c.Never() && !c.Broken() && c.Check.Result == "" && !c.Check.Taken && c.Check.AnsweredAt.IsZero()
}

// After is how long after a contact was asked something happened, "" where it did not.
func (c drilledContact) After(at time.Time) string { return afterText(c.Check.At, at) }

func afterText(from, at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return lasted(at.Sub(from))
}

// failedContacts says of some users which contacts failed in their last drill. What is not known is not shown.
func (w *Web) failedContacts(r *http.Request, users []string) (lines []string) {
	if w.o.Drills == nil || len(users) == 0 {
		return nil
	}
	checks, err := w.o.Drills.Checks(r.Context())
	if err != nil {
		w.o.Logger.Error("What drills found out could not be read", "err", err)
		return nil
	}
	for _, c := range w.o.Policy().FailedChecks(checks, users...) {
		lines = append(lines, c.String())
	}
	return lines
}
