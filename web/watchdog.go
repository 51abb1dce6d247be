package web

import (
	"io"
	"net/http"
)

// Watchdog is tocsin's own pulse: *watchdog.Watchdog.
type Watchdog interface {
	// Report says in lines of text what the last self-check found. ok is false where the pulse does not go out.
	Report() (text string, ok bool)
}

// watchdog shows what the last self-check found: 200 where the pulse goes out or none is configured, else 503.
func (w *Web) watchdog(rw http.ResponseWriter, _ *http.Request) {
	text, ok := "No watchdog is configured here.\n", true
	if w.o.Watchdog != nil {
		text, ok = w.o.Watchdog.Report()
	}
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !ok {
		rw.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = io.WriteString(rw, text) // the caller has gone: nobody is left to tell
}
