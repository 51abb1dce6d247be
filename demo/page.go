package demo

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"time"
)

//go:embed page
var pageFiles embed.FS

// contentPolicy lets the page load nothing but its own files, and run nothing that is written into it.
const contentPolicy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// view is everything that the page shows, at one instant.
type view struct {
	Speed     string
	Minute    string // how long a story minute really takes
	Clock     string
	Progress  int // permille of the 105 minutes
	Phase     string
	Narrator  string
	Charts    []chart
	Rows      []row
	Panes     []pane
	Phones    []phoneView
	Summary   *summary
	Database  string
	Sleeps    bool
	Patched   bool
	Ready     bool // tocsin serves
	TocsinURL string
	Rules     []ruleView
}

// row is a minute of the story in the two columns of moments.
type row struct {
	Time  string
	Then  string
	Ahead bool // the postmortem's moment has not come yet
	Now   []moment
}

type phoneView struct {
	Name, Role, Clock string
	Calls             []callView
}

type callView struct {
	ID, Time, Title, Text, State, Link string
	Asks                               bool
}

type ruleView struct{ What, Written, Runs string }

// handler serves everything on the world's one listener.
func (w *World) handler() (http.Handler, error) {
	t, err := template.ParseFS(pageFiles, "page/*.html")
	if err != nil {
		return nil, fmt.Errorf("the demo's page: %w", err)
	}
	static, err := fs.Sub(pageFiles, "page/static")
	if err != nil {
		return nil, err
	}
	own := http.NewServeMux()
	own.HandleFunc("GET /{$}", w.servePage(t))
	own.HandleFunc("GET /state", w.serveState(t))
	own.HandleFunc("GET /runbook", w.serveText(t, "runbook.html"))
	own.HandleFunc("GET /prometheus/graph", w.serveGraph(t))
	own.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(static)))
	own.HandleFunc("GET /file", w.serveFile)
	own.HandleFunc("POST /press", w.servePress)
	own.HandleFunc("POST /command", w.serveCommand)
	own.HandleFunc("POST /restart", w.serveDeed(func(context.Context) error { w.restartService("You restart"); return nil }))
	own.HandleFunc("POST /patch", w.serveDeed(func(context.Context) error { w.patchService(); return nil }))
	own.HandleFunc("POST /again", w.serveDeed(func(ctx context.Context) error { return w.again(context.WithoutCancel(ctx)) }))
	own.HandleFunc("POST /engineer", w.serveDeed(func(context.Context) error { w.toggleEngineer(); return nil }))

	mux := http.NewServeMux()
	mux.Handle("/prometheus/api/", http.StripPrefix("/prometheus", queryHandler(w.present)))
	mux.Handle("/slack/", http.StripPrefix("/slack", w.slack))
	mux.Handle("POST /pager/{user}", w.phones)
	mux.Handle("/", http.NewCrossOriginProtection().Handler(withPolicy(own)))
	return mux, nil
}

func withPolicy(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", contentPolicy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "same-origin")
		w.Header().Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

// regions are the parts of the page that change; each is a template and the element of the same id.
var regions = []string{"status", "charts", "moments", "slack", "phones", "summary", "controls"}

func (w *World) servePage(t *template.Template) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		w.render(rw, t, "page.html", w.view(time.Now()))
	}
}

// serveState answers the regions as HTML; the page replaces those pieces that differ.
func (w *World) serveState(t *template.Template) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		v := w.view(time.Now())
		out := map[string]string{}
		for _, name := range regions {
			var b bytes.Buffer
			if err := t.ExecuteTemplate(&b, name, v); err != nil {
				w.fail(rw, err)
				return
			}
			out[name] = b.String()
		}
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(map[string]any{"regions": out}) // the browser is gone if this fails
	}
}

func (w *World) serveText(t *template.Template, name string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) { w.render(rw, t, name, nil) }
}

// serveGraph is where the links to graphs of alerts lead: the expression and its values now.
func (w *World) serveGraph(t *template.Template) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		expr := r.FormValue("g0.expr")
		m := w.present()
		data := struct{ Expr, Result string }{Expr: expr}
		q, err := m.engine.NewInstantQuery(r.Context(), m.db, nil, expr, time.Now())
		if err != nil {
			data.Result = err.Error()
		} else {
			defer q.Close()
			if data.Result = q.Exec(r.Context()).String(); data.Result == "" {
				data.Result = "no series: the expression is not true for any"
			}
		}
		w.render(rw, t, "graph.html", data)
	}
}

func (w *World) render(rw http.ResponseWriter, t *template.Template, name string, data any) {
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, name, data); err != nil {
		w.fail(rw, err)
		return
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = rw.Write(b.Bytes()) // the browser is gone if this fails
}

func (w *World) fail(rw http.ResponseWriter, err error) {
	w.opts.Logger.Error("The demo's page could not be drawn", "err", err)
	http.Error(rw, "the page could not be drawn; the log says why", http.StatusInternalServerError)
}

// serveDeed answers a button of the page: with the page for a browser without scripts.
func (w *World) serveDeed(do func(context.Context) error) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		w.finish(rw, r, do(r.Context()))
	}
}

// finish ends a press: 204 for the script, the page for a plain form.
func (w *World) finish(rw http.ResponseWriter, r *http.Request, err error) {
	switch {
	case err != nil:
		w.opts.Logger.Warn("A button of the demo's page failed", "path", r.URL.Path, "err", err)
		http.Error(rw, err.Error(), http.StatusBadGateway)
	case r.Header.Get("X-Requested-With") != "":
		rw.WriteHeader(http.StatusNoContent)
	default:
		http.Redirect(rw, r, "/", http.StatusSeeOther)
	}
}

// servePress presses a button of a Slack message as the visitor.
func (w *World) servePress(rw http.ResponseWriter, r *http.Request) {
	p, base, ok := w.visitor(rw, r)
	if !ok {
		return
	}
	m, found := w.slack.Message(r.FormValue("channel"), r.FormValue("ts"))
	if !found {
		http.Error(rw, "that message is gone", http.StatusNotFound)
		return
	}
	if option := r.FormValue("option"); option != "" {
		w.finish(rw, r, accepted(w.slack.Select(r.Context(), base, m, r.FormValue("action"), option, p.slack)))
		return
	}
	w.finish(rw, r, w.press(r.Context(), base, m, r.FormValue("action"), p.slack))
}

// serveFile answers a picture that was uploaded into a message.
func (w *World) serveFile(rw http.ResponseWriter, r *http.Request) {
	m, _ := w.slack.Message(r.FormValue("channel"), r.FormValue("ts"))
	for _, f := range m.Files {
		if f.ID == r.FormValue("id") {
			rw.Header().Set("Content-Type", "image/png")
			rw.Header().Set("Cache-Control", "max-age=86400") // it never changes
			_, _ = rw.Write(f.Data)                           // the browser is gone if this fails
			return
		}
	}
	http.NotFound(rw, r)
}

// serveCommand types a slash command as the visitor.
func (w *World) serveCommand(rw http.ResponseWriter, r *http.Request) {
	p, base, ok := w.visitor(rw, r)
	if !ok {
		return
	}
	text := strings.TrimSpace(r.FormValue("text"))
	text = strings.TrimSpace(strings.TrimPrefix(text, "/tocsin"))
	if len(text) > 1000 {
		http.Error(rw, "a command holds at most 1,000 bytes", http.StatusRequestEntityTooLarge)
		return
	}
	w.mu.Lock()
	w.typed = append(w.typed, typed{time.Now(), p, text})
	w.mu.Unlock()
	a, err := w.slack.Command(r.Context(), base, text, p.slack)
	if err == nil && a.Status != http.StatusOK {
		err = fmt.Errorf("tocsin answered the command with status %d", a.Status)
	}
	w.finish(rw, r, err)
}

// visitor reads who the visitor is, and where tocsin serves.
func (w *World) visitor(rw http.ResponseWriter, r *http.Request) (p person, base string, ok bool) {
	r.Body = http.MaxBytesReader(rw, r.Body, 16<<10)
	p, ok = personNamed(r.FormValue("user"))
	if !ok {
		http.Error(rw, "you are ana or bo here", http.StatusBadRequest)
		return p, "", false
	}
	w.mu.Lock()
	base = w.tocsin
	w.mu.Unlock()
	if base == "" {
		http.Error(rw, "tocsin is still starting", http.StatusServiceUnavailable)
		return p, "", false
	}
	return p, base, true
}

func (w *World) toggleEngineer() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now.sleeps = !w.now.sleeps
}
