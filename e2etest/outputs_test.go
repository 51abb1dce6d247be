package e2etest

import (
	"bufio"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/evaluator/alertmanagers/alertmanagertest"
	"tocsin/evaluator/remotewrite/remotewritetest"
)

const outputsConfig = `
prometheus: {url: $PROM}
rule_files: [rules.yml]
evaluation_interval: 200ms
external_labels: {cluster: shop-1}
remote_write: {url: $WRITE/api/v1/write, timeout: 1s}
alertmanagers:
- {url: $OLD, timeout: 1s}
- {url: $SLOW, timeout: 1s}
escalations:
- name: default
  tiers: [{receiver: phone}]
receivers:
- name: phone
  page_configs: [{url: $PAGER/phone, secret_file: page}]
`

const outputsRules = `
groups:
- name: outputs
  rules:
  - {record: 'job:flip', expr: flip}
  - {alert: Flip, expr: flip > 0, labels: {severity: critical}}
`

// witness is a Prometheus that remembers for which instants it was asked.
type witness struct {
	*stub
	mu sync.Mutex
	at map[int64]bool // milliseconds
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.FormValue("query") == "flip" {
		if s, err := strconv.ParseFloat(r.FormValue("time"), 64); err == nil {
			w.mu.Lock()
			w.at[int64(math.Round(s*1000))] = true
			w.mu.Unlock()
		}
	}
	w.stub.ServeHTTP(rw, r)
}

func (w *witness) instants() map[int64]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[int64]bool{}
	for at := range w.at {
		out[at] = true
	}
	return out
}

// TestOutputsSurvive: while the far end of remote_write is away, and tocsin is killed and started again,
// nothing that was evaluated is lost; Alertmanagers hear what changed, also beside one that hangs.
func TestOutputsSurvive(t *testing.T) {
	t.Parallel()
	prom := &witness{stub: &stub{series: map[string]map[string]float64{}}, at: map[int64]bool{}}
	far, old, slow := remotewritetest.New(nil), alertmanagertest.New(), alertmanagertest.New()
	slow.SetFault(func(int) alertmanagertest.Fault { return alertmanagertest.Fault{Hang: true} })
	urls := []string{}
	for _, h := range []http.Handler{prom, far, old, slow} {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		urls = append(urls, s.URL)
	}
	config := strings.NewReplacer("$WRITE", urls[1], "$OLD", urls[2], "$SLOW", urls[3]).Replace(outputsConfig)
	w := newWorld(t, urls[0], config, outputsRules)
	prom.set("flip", "a", 1, true)
	prom.set("flip > 0", "a", 1, true)
	w.start()
	w.ready()
	firing := func() bool { return fmt.Sprint(old.Firing(time.Now(), "alertname")) == "[Flip]" }
	w.eventually(patience, "the Alertmanager hears of Flip", firing)
	name := `{__name__="job:flip", cluster="shop-1", instance="a"}`
	w.eventually(patience, "series arrive", func() bool { return len(far.Series()[name]) > 3 })

	ends, failed, fires := 0, 0, true
	for _, fault := range []remotewritetest.Fault{{Reset: true}, {Status: 503, After: true}, {Hang: true}} {
		far.SetFault(func(int) remotewritetest.Fault { return fault })
		n := len(prom.instants())
		w.eventually(patience, "evaluations go on without the far end", func() bool { return len(prom.instants()) > n+10 })
		failed += w.failedEvaluations()
		w.kill()
		w.start()
		w.ready()
		n = len(prom.instants())
		w.eventually(patience, "evaluations go on after a kill", func() bool { return len(prom.instants()) > n+10 })
		failed += w.failedEvaluations()
		w.stop()
		fires = !fires // while tocsin is away
		prom.set("flip > 0", "a", 1, fires)
		w.start()
		ends += 2
		far.SetFault(nil)
		n = len(far.Series()[name])
		w.eventually(patience, "the far end catches up", func() bool { return len(far.Series()[name]) > n+20 })
	}
	w.eventually(patience, "the Alertmanager hears how Flip ended", func() bool { return firing() == fires })
	failed += w.failedEvaluations()
	took := w.stop()
	if took > 9*time.Second {
		t.Errorf("it took %v to end", took)
	}

	have := map[int64]bool{}
	for _, p := range far.Series()[name] {
		have[p.T] = true
	}
	missing := 0
	asked := prom.instants()
	for at := range asked {
		if !have[at] {
			missing++
		}
	}
	// What was being evaluated when the process ended was never acknowledged: at most one each time. What was
	// not answered within the interval, on a machine with other work, is no evaluation.
	if missing > ends+1+failed {
		t.Errorf("%d of %d evaluations are missing after %d ends, and %d failed", missing, len(asked), ends+1, failed)
	}
	t.Logf("%d evaluations, %d failed, %d missing after %d ends; %d requests refused", len(asked), failed, missing, ends+1, len(far.Refused()))
	if len(old.Refused()) > 0 {
		t.Error(old.Refused())
	}
}

// failedEvaluations returns how many have failed since the process began.
func (w *world) failedEvaluations() (n int) {
	w.t.Helper()
	res, err := http.Get(w.url + "/metrics")
	if err != nil {
		w.t.Error(err)
		return 0
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && strings.HasPrefix(name, "tocsin_evaluator_evaluation_failures_total") {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				w.t.Error(err)
			}
			n += int(v)
		}
	}
	return n
}
