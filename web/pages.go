package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tocsin/oncall"
)

// pages are the templates. Links in them are relative to Root, so that they hold behind any proxy and
// route prefix, and nothing in them comes from another host.
type pages struct{ t *template.Template }

// layout is what every page has.
type layout struct {
	Title   string
	Root    string // relative path to the console's root, "" or ending in a slash
	CSS     string // relative path of the stylesheet
	Refresh int    // seconds after which the page loads itself again; 0: never
	Now     time.Time
	Nav     bool // there are pages of alerts and silences
}

// rows is one list of incidents on a page.
type rows struct {
	Now  time.Time
	List []oncall.IncidentView
}

func newPages() *pages {
	t := template.New("").Funcs(template.FuncMap{
		"clock":        clock,
		"iso":          func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"took":         lasted,
		"answer":       answer,
		"since":        since,
		"confirmation": confirmation,
		"until":        func(now, t time.Time) string { return since(t, now) },
		"silences": func(now time.Time, root string, list []silenceRow) any {
			return struct {
				Now  time.Time
				Root string
				List []silenceRow
			}{now, root, list}
		},
		"list": func(now time.Time, l []oncall.IncidentView) rows { return rows{now, l} },
	})
	return &pages{t: template.Must(t.ParseFS(files, "templates/*.html"))}
}

// layout returns the frame of a page. Below /hooks/ the stylesheet is the one that is served there, because
// nothing else may be exposed.
func (w *Web) layout(r *http.Request, title string) layout {
	below := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, strings.TrimSuffix(w.o.RoutePrefix, "/")), "/")
	root := strings.Repeat("../", strings.Count(below, "/"))
	l := layout{Title: title, Root: root, CSS: root + "static/tocsin.css", Now: now(), Nav: w.o.Alertmanager != nil}
	if strings.HasPrefix(below, "hooks/") {
		l.CSS = root + "hooks/tocsin.css"
	}
	return l
}

// render writes a page whole or not at all.
func (p *pages) render(rw http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer
	if err := p.t.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(rw, "This page cannot be drawn: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h := rw.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	rw.WriteHeader(status)
	_, _ = b.WriteTo(rw) // the reader has gone: nobody is left to tell
}

// message writes a page of one sentence.
func (p *pages) message(rw http.ResponseWriter, status int, l layout, text string) {
	p.render(rw, status, "message.html", struct {
		layout
		Text string
	}{l, text})
}

// clock is a time for people on call in several places: UTC, and to the second.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// answer is what a far end answered: its status, unless the text has it.
func answer(status int, text string) string {
	number := strconv.Itoa(status)
	switch {
	case status == 0 || strings.Contains(text, number):
		return text
	case text == "":
		return "HTTP " + number
	}
	return "HTTP " + number + ": " + text
}

// lasted is how long something took, in the one unit that matters.
func lasted(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "less than 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Truncate(100*time.Millisecond).Seconds())
	}
	return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
}

// since is how long ago t was, in the one unit that matters.
func since(now, t time.Time) string {
	switch d := now.Sub(t); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

// stylesheet is one embedded file; no page loads anything from elsewhere.
func (w *Web) stylesheet(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Cache-Control", "max-age=300")
	http.ServeFileFS(rw, r, files, "static/tocsin.css")
}
