package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

func (w *Web) healthy(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(rw, "tocsin is alive.")
}

// ready answers 503 with what is missing until tocsin can be relied on: an operator waits for it before
// the old alerting is switched off.
func (w *Web) ready(rw http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	var missing []string
	if err := w.o.Store.Healthy(ctx); err != nil {
		w.o.Logger.Warn("Not ready: the store does not work", "err", err)
		missing = append(missing, "The store does not work: "+err.Error())
	}
	if w.o.Standby != nil && w.o.Standby() {
		missing = append(missing, "This process does not have the watch: it stands by, and takes over when the one that has it is gone. Presses, reports and posted alerts are taken here all the same.")
	} else if !w.o.Evaluated() {
		missing = append(missing, "The rules have not been evaluated yet.")
	}
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(missing) > 0 {
		rw.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(rw, "tocsin is not ready.\n%s\n", strings.Join(missing, "\n"))
		return
	}
	fmt.Fprintln(rw, "tocsin is ready.")
}

func (w *Web) reload(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err := w.o.Reload(); err != nil {
		rw.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(rw, "The new configuration was not loaded; the one before stays in force.\n%s\n", strings.TrimRight(err.Error(), "\n"))
		return
	}
	fmt.Fprintln(rw, "The configuration was loaded.")
}

func (w *Web) slackCommand(rw http.ResponseWriter, r *http.Request) {
	commands, _ := w.o.Slack()
	w.slack(rw, r, commands)
}

func (w *Web) slackInteraction(rw http.ResponseWriter, r *http.Request) {
	_, interactions := w.o.Slack()
	w.slack(rw, r, interactions)
}

func (w *Web) slackEvent(rw http.ResponseWriter, r *http.Request) { w.slack(rw, r, w.o.SlackEvents()) }

// slack hands a request to the adapter, which checks its signature and bounds its body.
func (w *Web) slack(rw http.ResponseWriter, r *http.Request, h http.Handler) {
	if h == nil {
		http.Error(rw, "Slack is not configured here: tocsin.yml has no slack section", http.StatusNotFound)
		return
	}
	h.ServeHTTP(rw, r)
}
