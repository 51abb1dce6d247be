package remotewrite_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"

	"tocsin/evaluator"
	"tocsin/evaluator/httpconf"
	"tocsin/evaluator/remotewrite"
	"tocsin/evaluator/remotewrite/remotewritetest"
	"tocsin/oncall"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

var lease = oncall.Lease{Shard: "0", Owner: "me", Epoch: 1}

func config(t testing.TB, address string) remotewrite.Config {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return remotewrite.Config{Config: httpconf.Config{URL: u, Timeout: 5 * time.Second, Headers: map[string]string{"X-Scope-OrgID": "shop"}}}
}

// rig is a Writer between a strict receiver and a queue.
type rig struct {
	t     testing.TB
	w     *remotewrite.Writer
	far   *remotewritetest.Receiver
	queue *memQueue
	reg   *prometheus.Registry
	log   lockedBuffer
	stop  func()
}

// lockedBuffer keeps what is logged.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t testing.TB, o remotewrite.Options, far *remotewritetest.Receiver, queue *memQueue) *rig {
	t.Helper()
	r := &rig{t: t, far: far, queue: queue, reg: prometheus.NewRegistry()}
	o.Queue, o.Registerer, o.Logger = queue, r.reg, slog.New(slog.NewTextHandler(&r.log, nil))
	w, err := remotewrite.New(config(t, "http://far.example/api/v1/write?token=s3cret"), o.WithTransport(far))
	if err != nil {
		t.Fatal(err)
	}
	r.w = w
	return r
}

// start runs the writer until stop.
func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.w.Run(ctx, lease) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	}
}

func (r *rig) write(series ...evaluator.Series) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.w.Write(ctx, series); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) metric(name string, labels ...string) float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (len(labels) == 0 || len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == labels[0]) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	r.t.Errorf("no metric %s %v", name, labels)
	return 0
}

func at(i int) int64 { return time.Date(2026, 3, 1, 12, 0, i, 0, time.UTC).UnixMilli() }

func sample(name string, i int) evaluator.Series {
	return evaluator.Series{Labels: labels.FromStrings(model.MetricNameLabel, name, "job", "x"), T: at(i), V: float64(i)}
}

// values is what the receiver has of one series.
func values(far *remotewritetest.Receiver, name string) (out string) {
	for _, p := range far.Series()[fmt.Sprintf(`{__name__=%q, job="x"}`, name)] {
		out += fmt.Sprint(math.Float64frombits(p.Bits), " ")
	}
	return out
}

func always(f remotewritetest.Fault) func(int) remotewritetest.Fault {
	return func(int) remotewritetest.Fault { return f }
}
