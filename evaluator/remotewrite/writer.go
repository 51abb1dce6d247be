package remotewrite

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/evaluator"
	"tocsin/oncall"
)

// The bounds of the queue, and of waiting for it.
const (
	DefaultMaxBytes = 512 << 20 // compressed: hours of 10,000 alerts at 15 s
	DefaultMaxAge   = 24 * time.Hour
	// storeTimeout bounds a write to the queue, which outlives the cancellation of what asked for it.
	storeTimeout = 10 * time.Second
)

// Queue keeps what the far end could not take yet, in order, over restarts. Writes are made under the lease
// of the evaluator.
type Queue interface {
	// AppendSeries puts batches at the end, and before that takes out as many of the oldest as hold free
	// bytes; it returns those.
	AppendSeries(ctx context.Context, w oncall.Write, batches []oncall.QueuedSeries, free int64) (oncall.QueueSize, error)
	// PeekSeries returns the first batches that hold maxBytes together, one at least.
	PeekSeries(ctx context.Context, maxBytes int64) ([]oncall.QueuedSeries, error)
	// DeleteSeries takes out everything up to the batch through, and returns how much that was.
	DeleteSeries(ctx context.Context, w oncall.Write, through int64) (oncall.QueueSize, error)
	// QueuedSeries returns how much waits.
	QueuedSeries(ctx context.Context) (oncall.QueueSize, error)
}

// Options are what a Writer needs besides its configuration. Logger and Registerer may be nil.
type Options struct {
	Queue          Queue
	ExternalLabels labels.Labels // added to each series, overriding none of its own
	Logger         *slog.Logger
	Registerer     prometheus.Registerer
	MaxBytes       int64         // of the queue; 0: DefaultMaxBytes
	MaxAge         time.Duration // of what waits in it; 0: DefaultMaxAge

	transport http.RoundTripper // of tests; nil: the network
}

// Writer writes series to the far end. It is one for the life of the process: Apply changes where it writes,
// Run sends what waits.
//
// While the far end is well a Write sends its series itself, beside others, and nothing is stored. The first
// one that fails goes into the queue, and from then on all do, until Run has emptied it: so the samples of a
// series stay in order, provided that its writes are made one after the other. What is sent when the process
// is killed may be lost with it (it was not acknowledged, and its evaluation is repeated after the start);
// what was queued is not.
type Writer struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	applied chan struct{} // holds a token while Run must look at another far end
	wake    chan struct{} // holds a token while the queue may hold something new
	quiet   throttle      // of what is dropped, which may be much

	mu       sync.Mutex // guards the fields below
	far      *far       // nil: nowhere to write to
	external []labels.Label
	lease    oncall.Lease
	counted  chan struct{} // closed once the queue of this lease is counted
	running  bool
	size     oncall.QueueSize // what waits, and what is about to
	appends  int              // appends that have ended
	pending  int              // appends under way
	unsure   bool             // an append failed: there may be more than size says
	overflow int              // appends that took the oldest batches out
	after    time.Time        // no request before this instant: the far end asked for it
}

var _ evaluator.Recorder = (*Writer)(nil)

// New returns a Writer to the far end of cfg; without a URL it writes nowhere. The error is about the HTTP
// client settings.
func New(cfg Config, o Options) (*Writer, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxAge <= 0 {
		o.MaxAge = DefaultMaxAge
	}
	w := &Writer{o: o, log: o.Logger, applied: make(chan struct{}, 1), wake: make(chan struct{}, 1), counted: make(chan struct{})}
	if w.log == nil {
		w.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if err := w.Apply(cfg, o.ExternalLabels); err != nil {
		return nil, err
	}
	w.metrics = newMetrics(o.Registerer, w.queued)
	return w, nil
}

// Apply changes where series are written, and the external labels of those to come; what waits goes there
// too. Without a URL nothing is written, and what waits is kept. After an error nothing has changed.
func (w *Writer) Apply(cfg Config, external labels.Labels) error {
	var f *far
	if cfg.URL != nil {
		var err error
		if f, err = newFar(cfg, w.o.transport); err != nil {
			return err
		}
	}
	var ext []labels.Label
	external.Range(func(l labels.Label) { ext = append(ext, l) })
	w.mu.Lock()
	old := w.far
	w.far, w.external, w.after = f, ext, time.Time{}
	w.mu.Unlock()
	if old != nil {
		old.close()
	}
	poke(w.applied)
	return nil
}

// Close releases idle connections. Call it when Run has returned for good.
func (w *Writer) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.far != nil {
		w.far.close()
	}
}

func (w *Writer) queued() oncall.QueueSize {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size
}

// Write sends series, or queues them where the far end does not take them before ctx ends. What the far end
// refuses for good is dropped, logged and counted: trying again would not help, and would hold up the rest.
// An error means that series are lost: the store did not take them. Before Run has begun Write waits for it.
func (w *Writer) Write(ctx context.Context, series []evaluator.Series) error {
	w.mu.Lock()
	f, external, counted := w.far, w.external, w.counted
	w.mu.Unlock()
	if f == nil || len(series) == 0 {
		return nil
	}
	select {
	case <-counted:
	default:
		select {
		case <-counted:
		case <-ctx.Done():
			w.metrics.drop(dropStore, len(series))
			return &oncall.Error{Code: oncall.CodeUnavailable, Message: "remote_write does not know yet what waits in its queue", Cause: ctx.Err()}
		}
	}
	requests := encode(series, external)
	if w.direct() {
		requests = w.sendNow(ctx, f, requests)
	}
	return w.append(ctx, requests)
}

// direct reports whether a Write may send by itself: nothing waits that must arrive before.
func (w *Writer) direct() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running && w.size.Batches == 0 && w.pending == 0 && !w.unsure
}

// Behind reports that something is queued that the far end does not have yet.
func (w *Writer) Behind() bool { return !w.direct() }

// sendNow sends requests until one fails, and returns that one and those after it.
func (w *Writer) sendNow(ctx context.Context, f *far, requests []request) []request {
	for i, r := range requests {
		if ctx.Err() != nil {
			return requests[i:]
		}
		res := w.try(ctx, f, r)
		switch res.verdict {
		case refused:
			w.drop(dropRefused, r.samples, res.err)
		case failed:
			w.postpone(res.retryAfter)
			return requests[i:]
		}
	}
	return nil
}

// try sends one request once, and counts it.
func (w *Writer) try(ctx context.Context, f *far, r request) result {
	began := time.Now()
	res := f.send(ctx, r.message)
	w.metrics.request(r, time.Since(began), res.verdict)
	return res
}

func (w *Writer) postpone(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := time.Now().Add(d); d > 0 && at.After(w.after) {
		w.after = at
	}
}

// append puts requests into the queue, which lets go of its oldest batches where it would become too large.
func (w *Writer) append(ctx context.Context, requests []request) error {
	if len(requests) == 0 {
		return nil
	}
	now := wallNow()
	var batches []oncall.QueuedSeries
	var bytes int64
	samples := 0
	for _, r := range requests {
		b := oncall.QueuedSeries{At: now, Samples: r.samples, Body: pack(r.message)}
		batches = append(batches, b)
		bytes, samples = bytes+int64(len(b.Body)), samples+r.samples
	}
	w.mu.Lock()
	free := max(0, w.size.Bytes+bytes-w.o.MaxBytes)
	w.pending++
	w.size.Bytes += bytes - free // reserved, so that appends beside this one free what is theirs
	lease := w.lease
	w.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	dropped, err := w.o.Queue.AppendSeries(ctx, oncall.Write{Now: now, Lease: &lease}, batches, free)

	w.mu.Lock()
	w.pending--
	w.appends++
	if err != nil {
		w.size.Bytes -= bytes - free
		w.unsure = true
	} else {
		if w.size.Batches == 0 {
			w.size.Oldest = now
		}
		w.size.Batches += len(batches) - dropped.Batches
		w.size.Samples += samples - dropped.Samples
		w.size.Bytes -= dropped.Bytes - free
		if dropped.Batches > 0 {
			w.overflow++
		}
	}
	w.mu.Unlock()
	poke(w.wake)
	if err != nil {
		w.drop(dropStore, samples, err)
		return err
	}
	w.metrics.queued.Add(float64(samples))
	if dropped.Samples > 0 {
		w.drop(dropOverflow, dropped.Samples, errors.New("the queue is full: the far end has been away for too long"))
	}
	return nil
}

// drop counts what is lost and says so, once a minute at most for each reason.
func (w *Writer) drop(reason string, samples int, why error) {
	w.metrics.drop(reason, samples)
	if before, ok := w.quiet.pass(reason, time.Now()); ok {
		w.log.Error("Series were not written and are lost", "reason", reason, "samples", samples, "err", why, "such_messages_left_out", before)
	}
}

// throttle lets one of a kind pass in a minute.
type throttle struct {
	mu      sync.Mutex
	last    map[string]time.Time // guarded by mu
	skipped map[string]int       // guarded by mu
}

// pass reports whether this one may pass, and how many were held back before it.
func (t *throttle) pass(kind string, now time.Time) (before int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, known := t.last[kind]; known && now.Sub(at) < time.Minute {
		t.skipped[kind]++
		return 0, false
	}
	if t.last == nil {
		t.last, t.skipped = map[string]time.Time{}, map[string]int{}
	}
	before = t.skipped[kind]
	t.last[kind], t.skipped[kind] = now, 0
	return before, true
}

// wallNow is now as it is stored: UTC, without a monotonic reading.
func wallNow() time.Time { return time.Now().UTC().Round(0).Truncate(time.Microsecond) }

// poke leaves one token in c.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
