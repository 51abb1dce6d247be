package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tocsin/oncall"
)

// guarded is what every request passes: nothing that changes state is taken from a foreign page, and no
// answer may load anything from elsewhere.
func (w *Web) guarded(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	if u := w.o.ExternalURL; u != nil && u.Host != "" {
		// Behind a proxy the Host header may be another than the one people see.
		if err := protection.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			w.o.Logger.Warn("The external URL is no origin, so forms work only where the Host header is kept", "err", err)
		}
	}
	protection.SetDenyHandler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.fail(rw, r, oncall.Errorf(oncall.CodeForbidden,
			"this request comes from another site; if tocsin is behind a proxy, set --web.external-url to the address that people use"))
	}))
	protected := protection.Handler(next)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h := rw.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		// "no-referrer" would make browsers send "Origin: null" with our own forms.
		h.Set("Referrer-Policy", "same-origin")
		defer w.recovered(rw, r)
		protected.ServeHTTP(rw, r)
	})
}

// recovered turns a panic into an answer, so that a caller can tell a defect from a lost connection.
func (w *Web) recovered(rw http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler { //nolint:errorlint // this very value, by its documentation
		panic(v)
	}
	w.o.Logger.Error("A request met a defect", "method", r.Method, "path", loggedPath(r), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	w.refuse(rw, r, http.StatusInternalServerError, apiError{Error: "something is wrong inside tocsin; its log says what", Code: string(oncall.CodeInternal)})
}

// measured observes how long a route takes.
func (w *Web) measured(name string, h http.HandlerFunc) http.Handler {
	name = strings.TrimSuffix(name, "{$}")
	return promhttp.InstrumentHandlerDuration(w.duration.MustCurryWith(prometheus.Labels{"handler": name}), h)
}

func (w *Web) notFound(rw http.ResponseWriter, r *http.Request) {
	w.fail(rw, r, oncall.Errorf(oncall.CodeNotFound, "there is nothing at %s", r.URL.Path))
}

func (w *Web) methodNotAllowed(methods []string) http.HandlerFunc {
	if slices.Contains(methods, "GET") {
		methods = append(slices.Clone(methods), "HEAD")
	}
	allow := strings.Join(slices.Sorted(slices.Values(methods)), ", ")
	return func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Allow", allow)
		w.refuse(rw, r, http.StatusMethodNotAllowed, apiError{
			Error: fmt.Sprintf("%s is not possible here; allowed: %s", r.Method, allow), Code: "method_not_allowed"})
	}
}

// apiError is the body of every failure below /api/.
type apiError struct {
	Error    string               `json:"error"`
	Code     string               `json:"code"`
	Incident *oncall.IncidentView `json:"incident,omitempty"` // the present state, where a command was refused
}

// statusOf maps the few codes of the core to HTTP.
func statusOf(code oncall.Code) int {
	switch code {
	case oncall.CodeInvalid:
		return http.StatusBadRequest
	case oncall.CodeNotFound:
		return http.StatusNotFound
	case oncall.CodeConflict:
		return http.StatusConflict
	case oncall.CodeForbidden:
		return http.StatusForbidden
	case oncall.CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// fail answers with an error. What the caller cannot act on (a cause, an error without a code) is logged
// and not shown.
func (w *Web) fail(rw http.ResponseWriter, r *http.Request, err error) {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		w.refuse(rw, r, http.StatusRequestEntityTooLarge, apiError{
			Error: fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit), Code: "too_large"})
		return
	}
	code := oncall.ErrorCode(err)
	message := "something is wrong inside tocsin; its log says what"
	if e, ok := errors.AsType[*oncall.Error](err); ok {
		message = e.Message
	}
	status := statusOf(code)
	if status >= 500 {
		w.o.Logger.Error("A request failed", "method", r.Method, "path", loggedPath(r), "err", err)
	}
	w.refuse(rw, r, status, apiError{Error: message, Code: string(code)})
}

// loggedPath is the request's path without the token of an acknowledge link, which is as good as a password.
func loggedPath(r *http.Request) string {
	if token := r.PathValue("token"); token != "" {
		return strings.ReplaceAll(r.URL.Path, token, "<token>")
	}
	return r.URL.Path
}

// refuse writes a failure in the form that the caller reads: JSON below /api/, a page where a browser
// asks, a line of text elsewhere.
func (w *Web) refuse(rw http.ResponseWriter, r *http.Request, status int, e apiError) {
	switch {
	case w.belowPrometheus(r):
		w.writeJSON(rw, status, envelope{Status: "error", ErrorType: promErrorType(status), Error: e.Error})
	case w.belowAlertmanager(r):
		w.amRefuse(rw, status, status, e.Error)
	case strings.HasPrefix(r.URL.Path, strings.TrimSuffix(w.o.RoutePrefix, "/")+"/api/"):
		w.writeJSON(rw, status, e)
	case strings.Contains(r.Header.Get("Accept"), "text/html"):
		w.pages.message(rw, status, w.layout(r, http.StatusText(status)), e.Error)
	default:
		http.Error(rw, e.Error, status)
	}
}

// writeJSON answers with v. An answer that cannot be encoded is a defect: it is logged, and the status says so.
func (w *Web) writeJSON(rw http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		w.o.Logger.Error("An answer could not be written as JSON", "err", err)
		status, body = http.StatusInternalServerError, []byte(`{"error":"something is wrong inside tocsin; its log says what","code":"internal"}`)
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_, _ = rw.Write(append(body, '\n')) // the caller has gone: nobody is left to tell
}
