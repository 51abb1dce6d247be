package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"tocsin/oncall"
)

const (
	// maxPost bounds a post of alerts, in bytes: fifty thousand alerts as Prometheus writes them. Alertmanager
	// takes whatever fits into memory.
	maxPost = 32 << 20
	// largePost is the size from which posts wait for one another, so that several do not fill the memory.
	largePost = 1 << 20
	// receiveTime bounds the wait for the disk. A caller that has given up before does not end it: the alerts
	// are here.
	receiveTime = 10 * time.Second
	// readTime bounds how long a large post may take to arrive while others wait for it.
	readTime = 30 * time.Second
)

// amPostAlerts takes alerts in. It answers 2xx only when they are on disk.
func (w *Web) amPostAlerts(rw http.ResponseWriter, r *http.Request) {
	if !w.jsonBody(rw, r, "alerts") {
		return
	}
	if r.ContentLength < 0 || r.ContentLength > largePost {
		select {
		case w.large <- struct{}{}:
			defer func() { <-w.large }()
		case <-r.Context().Done():
			return
		}
		// Not every writer can; then the listener's own limit holds.
		_ = http.NewResponseController(rw).SetReadDeadline(now().Add(readTime))
	}
	body, err := readPost(rw, r)
	if err != nil {
		w.refusePost(rw, err)
		return
	}
	w.receive(rw, r, body)
}

// readPost reads the whole body.
func readPost(rw http.ResponseWriter, r *http.Request) (string, error) {
	if r.ContentLength > maxPost {
		return "", &http.MaxBytesError{Limit: maxPost}
	}
	var b strings.Builder
	b.Grow(int(max(r.ContentLength, 0)))
	_, err := io.Copy(&b, http.MaxBytesReader(rw, r.Body, maxPost))
	return b.String(), err
}

func (w *Web) refusePost(rw http.ResponseWriter, err error) {
	rw.Header().Set("Connection", "close") // what is left of the body is not read
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		w.amRefuse(rw, http.StatusRequestEntityTooLarge, http.StatusRequestEntityTooLarge,
			fmt.Sprintf("alerts in body: larger than %d bytes; send them in several posts", tooLarge.Limit))
		return
	}
	w.amRefuse(rw, http.StatusBadRequest, http.StatusBadRequest, "alerts in body: the body ended before its announced end, or took too long")
}

// receive stores what a body holds, and answers.
func (w *Web) receive(rw http.ResponseWriter, r *http.Request, body string) {
	am := w.o.Alertmanager
	at := now()
	d := alertDecoder{now: at, resolve: w.resolveTimeout(), mode: am.Mode}
	p, refused := d.decode(body)
	if refused != nil {
		status := refused.code
		if status >= codeFormat {
			status = http.StatusUnprocessableEntity
		}
		w.amRefuse(rw, status, refused.code, refused.message)
		return
	}
	if len(p.alerts) > 0 {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), receiveTime)
		err := am.Store.Receive(ctx, oncall.Write{Now: at}, p.alerts)
		cancel()
		if err != nil {
			w.o.Logger.Error("Posted alerts could not be stored; who sent them is told to send them again", "alerts", len(p.alerts), "err", err)
			// Never 429: Prometheus drops what it is told to send more slowly.
			rw.Header().Set("Retry-After", "1")
			w.amRefuse(rw, http.StatusServiceUnavailable, http.StatusServiceUnavailable, "the alerts could not be stored; send them again")
			return
		}
	}
	w.received.WithLabelValues("taken").Add(float64(len(p.alerts)))
	if n := len(p.invalid); n > 0 {
		w.received.WithLabelValues("invalid").Add(float64(n))
		const shown = 20
		message := strings.Join(p.invalid[:min(n, shown)], "\n")
		if n > shown {
			message += fmt.Sprintf("\nand %d more", n-shown)
		}
		w.o.Logger.Warn("Some of the posted alerts are not valid; the others were taken", "invalid", n, "taken", len(p.alerts), "first", p.invalid[0])
		w.amBadRequest(rw, message)
		return
	}
	rw.WriteHeader(http.StatusOK)
}
