package web

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/version"

	"tocsin/evaluator"
	"tocsin/oncall"
)

// promBase is where the part of Prometheus' API lives that is about rules, below the route prefix.
const promBase = "/api/v1"

// RuleSource shows what is evaluated. It is asked anew for each request, from many goroutines; nobody writes
// to what it returns.
type RuleSource interface {
	Groups() []evaluator.GroupStatus
}

// envelope is the form of Prometheus' answers.
type envelope struct {
	Status    string `json:"status"` // success or error
	Data      any    `json:"data,omitempty"`
	ErrorType string `json:"errorType,omitempty"`
	Error     string `json:"error,omitempty"`
}

func (w *Web) prometheusRoutes() []route {
	return []route{
		{"GET", promBase + "/rules", w.listRules},
		{"GET", promBase + "/alerts", w.listAlerts},
		{"POST", promBase + "/alerts", w.goneVersion},
		{"GET", promBase + "/status/buildinfo", w.buildInfo},
		{"", promBase + "/", w.notPrometheus},
	}
}

// buildInfo is what Grafana asks first. Its answer, without "features", tells Grafana that rules can be read
// and not written; without it Grafana takes tocsin for a Cortex and looks for a ruler to write to.
func (w *Web) buildInfo(rw http.ResponseWriter, _ *http.Request) {
	w.writeJSON(rw, http.StatusOK, envelope{Status: "success", Data: struct {
		Version   string `json:"version"`
		Revision  string `json:"revision"`
		Branch    string `json:"branch"`
		BuildUser string `json:"buildUser"`
		BuildDate string `json:"buildDate"`
		GoVersion string `json:"goVersion"`
	}{version.Version, version.GetRevision(), version.Branch, version.BuildUser, version.BuildDate, version.GoVersion}})
}

// goneVersion answers those who still speak the first version of Alertmanager's API, as Alertmanager does.
func (w *Web) goneVersion(rw http.ResponseWriter, _ *http.Request) {
	w.writeJSON(rw, http.StatusGone, envelope{Status: "deprecated",
		Error: "version 1 of Alertmanager's API is gone, here as there since 0.27.0: use /api/v2 (api_version: v2 under alertmanagers in prometheus.yml)"})
}

// notPrometheus answers those who take tocsin for a whole Prometheus.
func (w *Web) notPrometheus(rw http.ResponseWriter, r *http.Request) {
	below, _ := strings.CutPrefix(r.URL.Path, strings.TrimSuffix(w.o.RoutePrefix, "/")+promBase+"/")
	if first, _, _ := strings.Cut(below, "/"); below == "status" || first == "receivers" || first == "silences" || first == "silence" {
		w.goneVersion(rw, r)
		return
	}
	w.fail(rw, r, oncall.Errorf(oncall.CodeNotFound,
		"tocsin holds no series and does not answer %s: ask Prometheus for them; of its API tocsin has %s/rules and %s/alerts", r.URL.Path, promBase, promBase))
}

// belowPrometheus reports whether a failure of this request is told as Prometheus tells it.
func (w *Web) belowPrometheus(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, strings.TrimSuffix(w.o.RoutePrefix, "/")+promBase+"/")
}

// promErrorType is the nearest of the types that clients of Prometheus know.
func promErrorType(status int) string {
	switch {
	case status == http.StatusNotFound:
		return "not_found"
	case status == http.StatusServiceUnavailable:
		return "unavailable"
	case status < 500:
		return "bad_data"
	}
	return "internal"
}

// badData refuses a request in Prometheus' form, naming the parameter that is wrong.
func (w *Web) badData(rw http.ResponseWriter, message string) {
	w.writeJSON(rw, http.StatusBadRequest, envelope{Status: "error", ErrorType: "bad_data", Error: message})
}

// jsonString appends s as a JSON string, as encoding/json writes it.
func jsonString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0 // what stands for itself and is not appended yet
	for i := 0; i < len(s); {
		c := s[i]
		if asIs[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				b = append(append(b, s[from:i]...), `\ufffd`...)
			case r == '\u2028' || r == '\u2029': // line ends in JavaScript
				b = append(append(b, s[from:i]...), `\u202`...)
				b = append(b, hex[r&0xF])
			default:
				i += size
				continue
			}
			i += size
			from = i
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hex[c>>4], hex[c&0xF])
		}
		i++
		from = i
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

// asIs are the bytes that stand for themselves in a JSON string inside HTML.
var asIs = func() (t [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return t
}()
