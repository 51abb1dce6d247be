package web

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	"tocsin/oncall"
)

const (
	// shownGroups and shownAlerts bound a page: nobody reads more, and a filter finds the rest.
	shownGroups = 100
	shownAlerts = 50
)

// alertsPage is the groups of alerts that fire.
type alertsPage struct {
	layout
	Filter, Receiver    string // Receiver: only what goes to it; "": to all
	Silenced, Inhibited bool   // show those too
	Wrong               string // what is wrong with the filter
	Idle                bool   // this process cannot say which alerts there are
	Groups              []groupRow
	More                int // groups that are not drawn
	Alerts              int // of all groups, each once a group
}

// groupRow is a group as the page draws it.
type groupRow struct {
	Labels   labelRow
	Receiver string
	MutedBy  []string
	Alerts   []alertRow
	More     int
	Silence  template.URL // the query of the form that silences it; "" for a group without labels
}

// alertRow is an alert as the page draws it.
type alertRow struct {
	State        string
	Labels       labelRow
	Summary      string
	Runbook      string
	GeneratorURL string
	StartsAt     time.Time
	SilencedBy   []string
	Inhibited    bool
	Silence      template.URL
}

func (w *Web) showAlerts(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p := alertsPage{layout: w.layout(r, "Alerts"), Filter: strings.TrimSpace(q.Get("filter")), Receiver: q.Get("receiver"), Silenced: q.Get("silenced") != "", Inhibited: q.Get("inhibited") != ""}
	p.Refresh = 30
	f := alertFilter{active: true, silenced: p.Silenced, inhibited: p.Inhibited, muted: true}
	status := http.StatusOK
	matchers, err := oncall.ParseMatchers(p.Filter, w.o.Alertmanager.Mode)
	if err != nil {
		status, p.Wrong, p.Refresh = http.StatusBadRequest, err.Error(), 0
	}
	f.matchers = matchers
	if p.Receiver != "" {
		f.named = map[string]bool{p.Receiver: true}
	}
	if p.Idle = !w.o.Alertmanager.Dispatch.Ready(); p.Idle {
		status = http.StatusServiceUnavailable
	}
	if status == http.StatusOK {
		for _, g := range w.o.Alertmanager.Dispatch.Groups(p.Now) {
			p.add(g, &f)
		}
	}
	w.pages.render(rw, status, "alerts.html", p)
}

// add draws a group, if it holds something that is wanted.
func (p *alertsPage) add(g notifier.GroupView, f *alertFilter) {
	if !f.takesReceiver(g.Receiver) {
		return
	}
	row := groupRow{Labels: labelsOf(g.Labels), Receiver: g.Receiver, MutedBy: g.MutedBy}
	if !g.Labels.IsEmpty() {
		row.Silence = silenceQuery(g.Labels)
	}
	n := 0
	for i := range g.Alerts {
		a := &g.Alerts[i]
		if !f.takes(a) {
			continue
		}
		if n++; n <= shownAlerts {
			row.Alerts = append(row.Alerts, rowOf(a))
		}
	}
	if n == 0 {
		return
	}
	p.Alerts += n
	row.More = n - len(row.Alerts)
	if len(p.Groups) == shownGroups {
		p.More++
		return
	}
	p.Groups = append(p.Groups, row)
}

func rowOf(a *notifier.AlertView) alertRow {
	al := a.Alert
	summary := al.Annotations.Get("summary")
	if summary == "" {
		summary = al.Annotations.Get("description")
	}
	return alertRow{State: a.State, Labels: labelsOf(al.Labels), Summary: summary, Runbook: webAddress(al.Annotations.Get("runbook_url")),
		GeneratorURL: webAddress(al.GeneratorURL), StartsAt: time.UnixMicro(al.StartsAt), SilencedBy: a.SilencedBy, Inhibited: len(a.InhibitedBy) > 0, Silence: silenceQuery(al.Labels)}
}

// webAddress returns s if a browser may be led there.
func webAddress(s string) string {
	if u, err := url.Parse(s); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		return s
	}
	return ""
}

// labelRow is a label set for people: alertname apart, as it is what they look for.
type labelRow struct {
	Name  string
	Pairs []string
}

func labelsOf(ls labels.Labels) labelRow {
	row := labelRow{Name: ls.Get("alertname")}
	ls.Range(func(l labels.Label) {
		if l.Name != "alertname" {
			row.Pairs = append(row.Pairs, l.Name+"="+l.Value)
		}
	})
	return row
}

// silenceQuery is the query of the form, filled in for exactly these labels.
func silenceQuery(ls labels.Labels) template.URL {
	var ms amlabels.Matchers
	ls.Range(func(l labels.Label) {
		ms = append(ms, &amlabels.Matcher{Type: amlabels.MatchEqual, Name: l.Name, Value: l.Value})
	})
	return query(url.Values{"matchers": {matcherText(ms)}})
}

// query is escaped already: the template would escape it once more.
func query(v url.Values) template.URL { return template.URL(v.Encode()) } //nolint:gosec // by url.Values

// matcherText is what ParseMatchers reads.
func matcherText(ms amlabels.Matchers) string {
	var parts []string
	for _, m := range ms {
		parts = append(parts, m.String())
	}
	return strings.Join(parts, ", ")
}

// silencesPage lists all silences.
type silencesPage struct {
	layout
	Active, Pending, Expired []silenceRow
	More                     int // expired ones that are not drawn
}

type silenceRow struct {
	ID, Matchers, By, Comment, State string
	StartsAt, EndsAt                 time.Time
	Again                            template.URL // the query of the form, filled in as this one is
}

func (w *Web) showSilences(rw http.ResponseWriter, r *http.Request) {
	if err := w.o.Alertmanager.Silences.Refresh(r.Context()); err != nil {
		w.fail(rw, r, err)
		return
	}
	p := silencesPage{layout: w.layout(r, "Silences")}
	for _, s := range w.o.Alertmanager.Silences.List(p.Now) {
		row := silenceRow{ID: s.ID, Matchers: matcherText(s.Matchers), By: s.CreatedBy, Comment: s.Comment, StartsAt: s.StartsAt, EndsAt: s.EndsAt, State: string(s.State(p.Now))}
		from := s.StartsAt
		if row.State == string(oncall.SilenceActive) {
			from = p.Now // what is changed goes on from now
		}
		length := model.Duration(max(s.EndsAt.Sub(from).Round(time.Minute), time.Minute))
		v := url.Values{"matchers": {row.Matchers}, "comment": {s.Comment}, "duration": {length.String()}}
		if s.State(p.Now) != oncall.SilenceExpired {
			v.Set("id", s.ID)
		}
		if s.State(p.Now) == oncall.SilencePending {
			v.Set("starts", s.StartsAt.UTC().Format(time.RFC3339))
		}
		row.Again = query(v)
		switch s.State(p.Now) {
		case oncall.SilenceActive:
			p.Active = append(p.Active, row)
		case oncall.SilencePending:
			p.Pending = append(p.Pending, row)
		case oncall.SilenceExpired:
			if len(p.Expired) == consoleList {
				p.More++
				continue
			}
			p.Expired = append(p.Expired, row)
		}
	}
	w.pages.render(rw, http.StatusOK, "silences.html", p)
}

// silencePage is the form of one silence.
type silencePage struct {
	layout
	ID, Matchers, Starts, Duration, Comment, User string
	AskName                                       bool
	Users                                         []string
	Wrong                                         string
	Previewed                                     bool
	Warnings                                      []string
	Count                                         int // alerts that fire and match
	Matching                                      []alertRow
}

func (w *Web) silenceForm(r *http.Request, v url.Values) silencePage {
	p := silencePage{layout: w.layout(r, "Silence"), ID: v.Get("id"), Matchers: v.Get("matchers"), Starts: v.Get("starts"),
		Duration: v.Get("duration"), Comment: v.Get("comment"), User: v.Get("user")}
	if p.Duration == "" {
		p.Duration = "2h"
	}
	if _, required := w.o.User(r); !required {
		p.AskName = true
		for name := range w.o.Policy().Users {
			p.Users = append(p.Users, name)
		}
		slices.Sort(p.Users)
	}
	return p
}

// newSilence shows the form, with what it would mute where it is filled in: nothing is changed.
func (w *Web) newSilence(rw http.ResponseWriter, r *http.Request) {
	p := w.silenceForm(r, r.URL.Query())
	status := http.StatusOK
	if p.Matchers != "" {
		s, err := w.readSilenceForm(&p)
		if err == nil {
			err = oncall.CheckSilence(s, w.o.Alertmanager.Mode, p.Now)
		}
		if err != nil {
			p.Wrong, status = err.Error(), http.StatusBadRequest
		} else {
			w.preview(&p, s)
		}
	}
	w.pages.render(rw, status, "silence.html", p)
}

// preview finds what a silence would mute just now.
func (w *Web) preview(p *silencePage, s oncall.Silence) {
	p.Warnings = oncall.SilenceWarnings(s)
	p.Previewed = w.o.Alertmanager.Dispatch.Ready()
	f := alertFilter{active: true, silenced: true, inhibited: true, matchers: s.Matchers}
	for _, a := range w.o.Alertmanager.Dispatch.Alerts(p.Now) {
		if !f.takes(&a) {
			continue
		}
		if p.Count++; p.Count <= shownAlerts {
			p.Matching = append(p.Matching, rowOf(&a))
		}
	}
}

// readSilenceForm reads what the form says, but for who says it.
func (w *Web) readSilenceForm(p *silencePage) (oncall.Silence, error) {
	s := oncall.Silence{ID: p.ID, Comment: p.Comment, StartsAt: p.Now}
	var err error
	if s.Matchers, err = oncall.ParseMatchers(p.Matchers, w.o.Alertmanager.Mode); err != nil {
		return s, fmt.Errorf("matchers: %w", err)
	}
	if p.Starts != "" {
		if s.StartsAt, err = time.Parse(time.RFC3339, p.Starts); err != nil {
			return s, oncall.Errorf(oncall.CodeInvalid, "the start %q is no time such as %s", p.Starts, p.Now.UTC().Format(time.RFC3339))
		}
	}
	length, err := oncall.ParseSilenceDuration(p.Duration)
	if err != nil {
		return s, err
	}
	s.EndsAt = s.StartsAt.Add(length)
	return s, nil
}

// setSilence is the form, sent. What cannot be done is said above the form, which stays filled in.
func (w *Web) setSilence(rw http.ResponseWriter, r *http.Request) {
	if err := parseForm(rw, r); err != nil {
		w.fail(rw, r, err)
		return
	}
	p := w.silenceForm(r, r.PostForm)
	s, err := w.readSilenceForm(&p)
	if err == nil {
		s.CreatedBy, err = w.actor(r, strings.TrimSpace(p.User), "console")
	}
	if err == nil {
		err = oncall.RequireComment(s)
	}
	if err == nil {
		_, _, err = w.o.Alertmanager.Silences.Set(r.Context(), s)
	}
	if err != nil {
		switch status := statusOf(oncall.ErrorCode(err)); {
		case status >= 500 || status == http.StatusForbidden:
			w.fail(rw, r, err)
		default:
			p.Wrong = err.Error()
			w.pages.render(rw, status, "silence.html", p)
		}
		return
	}
	seeOther(rw, "silences")
}

// endSilence is the button that expires one.
func (w *Web) endSilence(rw http.ResponseWriter, r *http.Request) {
	if _, err := w.o.Alertmanager.Silences.Expire(r.Context(), r.PathValue("id")); err != nil {
		w.fail(rw, r, err)
		return
	}
	seeOther(rw, "../../silences")
}

// seeOther leads to a page relative to this one: a proxy may have cut the path.
func seeOther(rw http.ResponseWriter, to string) {
	rw.Header().Set("Location", to)
	rw.WriteHeader(http.StatusSeeOther)
}

// parseForm reads a bounded form.
func parseForm(rw http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(rw, r.Body, maxBody)
	err := r.ParseForm()
	if err == nil {
		return nil
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge
	}
	return oncall.Errorf(oncall.CodeInvalid, "the form could not be read")
}
