package alertmanagers

import (
	"context"
	"net/http"
	"sync"
	"time"

	promconfig "github.com/prometheus/common/config"

	"tocsin/evaluator"
)

const (
	// maxBatch is how many alerts one request carries.
	maxBatch = 256
	// The wait after a failure doubles from the first to the last.
	retryFirst = 500 * time.Millisecond
	retryLast  = 30 * time.Second
	// lastWords is how long changes are still sent after we were told to end.
	lastWords = 2 * time.Second
)

// end is one Alertmanager, with what it must yet be told.
type end struct {
	f       *Forwarder
	http    *http.Client
	config  Config
	address string
	shown   string // without credentials
	wake    chan struct{}

	mu     sync.Mutex                     // guards the fields below
	fresh  map[uint64]evaluator.Forwarded // changes, which go first
	repeat map[uint64]evaluator.Forwarded // what is only sent again
	down   time.Time                      // when it began to fail; zero: it does not
}

func newEnd(c Config, f *Forwarder) (*end, error) {
	e := &end{f: f, config: c, wake: make(chan struct{}, 1), fresh: map[uint64]evaluator.Forwarded{}, repeat: map[uint64]evaluator.Forwarded{}}
	if e.config.Timeout <= 0 {
		e.config.Timeout = DefaultTimeout
	}
	transport := f.o.transport
	if transport == nil {
		client, err := promconfig.NewClientFromConfig(c.HTTP, "alertmanagers")
		if err != nil {
			return nil, err
		}
		transport = client.Transport
	}
	// A redirect would turn the POST into a GET, or carry credentials elsewhere.
	e.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	e.address = c.URL.JoinPath("api/v2/alerts").String()
	u := *c.URL
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	e.shown = u.String()
	return e, nil
}

// changed queues changes: each replaces what is known of its alert.
func (e *end) changed(alerts []evaluator.Forwarded) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range alerts {
		key := a.Labels.Hash()
		if _, known := e.fresh[key]; !known && len(e.fresh) >= maxAlerts {
			e.f.metrics.drop(e, 1)
			e.f.quiet(e, "Alerts were not sent", errTooMany)
			continue
		}
		e.fresh[key] = a
		delete(e.repeat, key)
	}
	e.poke()
}

// again queues alerts that are sent again, unless a change of theirs waits, and forgets what has resolved
// so long ago that nobody need be told.
func (e *end) again(alerts []evaluator.Forwarded, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, a := range e.fresh {
		if !a.EndsAt.IsZero() && now.Sub(a.EndsAt) > resolvedFor {
			delete(e.fresh, key)
		}
	}
	clear(e.repeat) // what waits from the last time is among alerts, or over
	for _, a := range alerts {
		key := a.Labels.Hash()
		if _, waits := e.fresh[key]; !waits && len(e.repeat) < maxAlerts {
			e.repeat[key] = a
		}
	}
	e.poke()
}

func (e *end) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *end) waiting() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.fresh) + len(e.repeat)
}

// take takes the next batch out of the queues, changes first.
func (e *end) take(freshOnly bool) (batch []evaluator.Forwarded, changes int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	from := func(m map[uint64]evaluator.Forwarded) {
		for key, a := range m {
			if len(batch) == maxBatch {
				return
			}
			batch = append(batch, a)
			delete(m, key)
		}
	}
	from(e.fresh)
	changes = len(batch)
	if !freshOnly {
		from(e.repeat)
	}
	return batch, changes
}

// giveBack queues a batch again that was not taken, where nothing newer is known.
func (e *end) giveBack(batch []evaluator.Forwarded, changes int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, a := range batch {
		key := a.Labels.Hash()
		if _, newer := e.fresh[key]; newer {
			continue
		}
		if i < changes {
			e.fresh[key] = a
			delete(e.repeat, key)
		} else if _, newer := e.repeat[key]; !newer {
			e.repeat[key] = a
		}
	}
}

// run sends what waits until ctx ends, and then, for a moment, what has just changed.
func (e *end) run(ctx context.Context) {
	defer e.http.CloseIdleConnections()
	delay := time.Duration(0)
	for ctx.Err() == nil {
		batch, changes := e.take(false)
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
			case <-e.wake:
			}
			continue
		}
		if e.send(ctx, batch) {
			delay = 0
			continue
		}
		e.giveBack(batch, changes)
		delay = min(max(2*delay, retryFirst), retryLast)
		t := time.NewTimer(delay)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	for {
		batch, _ := e.take(true)
		if len(batch) == 0 || !e.send(ctx, batch) {
			return
		}
	}
}
