package remotewrite_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"tocsin/evaluator"
	"tocsin/evaluator/promtest"
	"tocsin/evaluator/remotewrite"
)

// unreliable is a network that may be away.
type unreliable struct{ away atomic.Bool }

func (u *unreliable) RoundTrip(r *http.Request) (*http.Response, error) {
	if u.away.Load() {
		return nil, errors.New("no route to host")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// TestRealPrometheus: what we write a real Prometheus takes, answers queries of, and misses nothing of after
// an outage.
func TestRealPrometheus(t *testing.T) {
	server := promtest.Start(t, promtest.Options{RemoteWrite: true})
	u, err := url.Parse(server.URL + "/api/v1/write")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	cfg := config(t, u.String())
	cfg.HTTP = promconfig.DefaultHTTPClientConfig
	queue := &memQueue{}
	r := &rig{t: t, queue: queue}
	network := &unreliable{}
	r.w, err = remotewrite.New(cfg, remotewrite.Options{Queue: queue, ExternalLabels: labels.FromStrings("cluster", "shop-1")}.WithTransport(network))
	if err != nil {
		t.Fatal(err)
	}
	r.start()
	start := time.Now().Add(-10 * time.Minute).Truncate(time.Second)
	alert := labels.FromStrings("__name__", "ALERTS", "alertname", "MemoryHigh", "alertstate", "firing", "summary", "ünïcode \"x\"")
	record := labels.FromStrings("__name__", "job:memory:ratio", "job", "session")
	step := func(i int) {
		at := start.Add(time.Duration(i) * 15 * time.Second).UnixMilli()
		v := 1.0
		if i >= 30 {
			v = math.Float64frombits(value.StaleNaN)
		}
		if i <= 30 {
			r.write(evaluator.Series{Labels: alert, T: at, V: v})
		}
		r.write(evaluator.Series{Labels: record, T: at, V: float64(i)})
	}
	for i := range 40 {
		network.away.Store(i >= 10 && i < 35)
		step(i)
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(50 * time.Millisecond) {
		if s, _ := queue.QueuedSeries(t.Context()); s.Batches == 0 {
			break
		}
	}
	r.stop()
	r.w.Close()
	ask := func(expr string, i int) string {
		return ask(t, server.URL, expr, start.Add(time.Duration(i)*15*time.Second))
	}
	for _, c := range []struct {
		expr string
		at   int
		want string
	}{
		{`count_over_time(job:memory:ratio{cluster="shop-1"}[20m])`, 39, "40"},
		{`job:memory:ratio`, 22, "22"},
		{`count_over_time(ALERTS{alertname="MemoryHigh", alertstate="firing", summary="ünïcode \"x\""}[20m])`, 39, "30"},
		{`ALERTS`, 29, "1"},
		{`ALERTS`, 30, ""}, // ended at once, not after five minutes
	} {
		if got := ask(c.expr, c.at); got != c.want {
			t.Errorf("%s at step %d: got %q, want %q", c.expr, c.at, got, c.want)
		}
	}
}

// ask returns the value of the only series that answers expr, "" for none.
func ask(t *testing.T, base, expr string, at time.Time) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/v1/query?"+url.Values{"query": {expr}, "time": {fmt.Sprint(at.Unix())}}.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var body struct {
		Error string
		Data  struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || body.Error != "" || len(body.Data.Result) > 1 {
		t.Fatalf("%s: %v %v %v", expr, err, body.Error, body.Data.Result)
	}
	if len(body.Data.Result) == 0 {
		return ""
	}
	return fmt.Sprint(body.Data.Result[0].Value[1])
}
