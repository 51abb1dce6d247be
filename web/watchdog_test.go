package web

import (
	"net/http"
	"strings"
	"testing"
)

// report is a watchdog that says what a test wants.
type report struct {
	text string
	ok   bool
}

func (r report) Report() (string, bool) { return r.text, r.ok }

func TestWatchdog(t *testing.T) {
	for _, c := range []struct {
		w      Watchdog
		status int
		want   string
	}{
		{nil, http.StatusOK, "No watchdog"}, {report{"store: well\n", true}, http.StatusOK, "store: well"},
		{report{"store: FAILED\n", false}, http.StatusServiceUnavailable, "store: FAILED"},
	} {
		w := site(t, newMemory(), func(o *Options) { o.Watchdog = c.w })
		answer := ask(w.Handler(), "GET", "/-/watchdog", "")
		if answer.Code != c.status || !strings.Contains(answer.Body.String(), c.want) {
			t.Errorf("%+v: %d %s", c.w, answer.Code, answer.Body)
		}
		if answer := ask(w.CallbackHandler(), "GET", "/-/watchdog", ""); answer.Code != http.StatusNotFound {
			t.Errorf("the port for callbacks shows it: %d", answer.Code)
		}
	}
}
