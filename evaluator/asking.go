package evaluator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tocsin/rules"
)

const (
	// troubleAfter is how many queries in a row must fail by the backend's fault before it counts as in
	// trouble: one heavy rule that always times out is none.
	troubleAfter = 3
	// probeQuery costs a backend nothing.
	probeQuery = "vector(1)"
)

// asking is a backend as one generation asks it.
type asking struct {
	Source
	places  chan struct{} // a token per query in flight
	ahead   chan struct{} // a token per goroutine that looks ahead
	trouble *trouble
}

// trouble is what is known of a backend's health; it outlives plans. While a backend is in trouble it is
// asked one cheap question per group and interval, one at a time, instead of every rule's: recovery shows at
// once, in each group's next evaluation, and a Prometheus that comes back is not beaten down again.
type trouble struct {
	mu       sync.Mutex
	begun    int    // counts queries
	failures int    // of queries, in a row
	failedAt int    // begun, as the last of them failed
	last     *probe // the latest, which may be under way
}

type probe struct {
	began time.Time
	done  chan struct{}
	err   error // valid once done is closed
}

// begin returns what note wants to know of a query that begins.
func (t *trouble) begin() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun++
	return t.begun
}

// note counts how a query ended. That one which began before the last failure went well says nothing of the
// backend since.
func (t *trouble) note(query int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil && kindOf(err) == BackendError {
		t.failures++
		t.failedAt = t.begun
		return
	}
	if query > t.failedAt {
		t.failures = 0
	}
}

// join returns the probe to wait for, nil if the backend is in no trouble. mine says that the caller must
// carry it out. A probe that began before since says nothing to the caller.
func (t *trouble) join(since time.Time) (p *probe, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failures < troubleAfter {
		return nil, false
	}
	if t.last != nil {
		select {
		case <-t.last.done:
			if !t.last.began.Before(since) && t.last.err != nil && !errors.Is(t.last.err, context.Canceled) {
				return t.last, false
			}
		default:
			return t.last, false
		}
	}
	t.last = &probe{began: time.Now(), done: make(chan struct{})}
	return t.last, true
}

// sourceKey tells apart what is in trouble: one tenant may be, and another not.
func sourceKey(g *rules.Group) string { return fmt.Sprintf("%q %q", g.Prometheus, g.Headers) }

// source returns the backend that a group asks. A name that nobody configured asks nobody.
func (p *Plan) source(g *rules.Group) Source {
	if g.Prometheus == "" {
		return Source{Backend: p.Backend, BackendName: p.BackendName, GraphURL: p.GraphURL, QueryTimeout: p.QueryTimeout, Concurrency: p.Concurrency}
	}
	s := p.Backends[g.Prometheus]
	if s.Backend == nil {
		s.Backend = nobody(g.Prometheus)
	}
	if s.BackendName == "" {
		s.BackendName = g.Prometheus
	}
	return s
}

// nobody is the backend of a group that names one which is not configured.
type nobody string

func (n nobody) Query(context.Context, string, time.Time) (Answer, error) {
	return Answer{}, &QueryError{Kind: BackendError, Message: fmt.Sprintf("there is no prometheus named %q in the configuration", string(n))}
}

// asking makes what a generation needs to ask, once per backend. e.mu is held.
func (e *Evaluator) asking(p *Plan, g *rules.Group, made map[string]*asking) *asking {
	key := sourceKey(g)
	if a := made[key]; a != nil {
		return a
	}
	a := &asking{Source: p.source(g), trouble: e.troubles[key]}
	if a.trouble == nil {
		a.trouble = &trouble{}
		e.troubles[key] = a.trouble
	}
	// All tenants of a backend share its places.
	name := fmt.Sprintf("places %q", g.Prometheus)
	if other := made[name]; other != nil {
		a.places, a.ahead = other.places, other.ahead
	} else {
		n := a.Concurrency
		if n <= 0 {
			n = defaultConcurrency
		}
		a.places = make(chan struct{}, n)
		a.ahead = make(chan struct{}, min(aheadQueries, n-1))
		made[name] = a
	}
	made[key] = a
	return a
}

// terms are how one query is asked.
type terms struct {
	timeout time.Duration
	since   time.Time // from when on the outcome of a probe counts: the beginning of the group's evaluation
	reuse   *Reuse    // what the expression keeps between its queries; nil where another may run beside this one
}

// ask queries the rule's backend, which has at most Concurrency queries of ours in flight. Waiting for a
// place does not count against the timeout: our own queue must not look like a slow backend.
func (g *generation) ask(ctx context.Context, b *bound, expr string, at time.Time, t terms) (Answer, error) {
	ctx = WithHeaders(ctx, b.group.Headers)
	if err := b.from.passes(ctx, t); err != nil {
		return Answer{}, err
	}
	select {
	case b.from.places <- struct{}{}:
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	defer func() { <-b.from.places }()
	n := b.from.trouble.begin()
	ans, err := query(ctx, b.from.Backend, expr, at, t)
	if ctx.Err() == nil {
		b.from.trouble.note(n, err)
	}
	return ans, err
}

func query(ctx context.Context, backend Backend, expr string, at time.Time, t terms) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	ans, err := queryInto(ctx, backend, expr, at, t.reuse)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && errors.Is(err, context.DeadlineExceeded) {
		err = late(err)
	}
	return ans, err
}

// late is what became of a query without an answer. It is without the time, which differs: a text that changes
// would be committed with each evaluation.
func late(cause error) error {
	return &QueryError{Kind: BackendError, Cause: cause, Message: "no answer in time (the query's timeout, at most the group's interval)"}
}

// passes returns nil if the backend may be asked. While it is in trouble, a probe decides; what it found
// since the group's evaluation began is good for all its rules.
func (a *asking) passes(ctx context.Context, t terms) error {
	if t.since.IsZero() {
		t.since = time.Now()
	}
	for ctx.Err() == nil {
		p, mine := a.trouble.join(t.since)
		if p == nil {
			return nil
		}
		if mine {
			n := a.trouble.begin()
			_, p.err = query(ctx, a.Backend, probeQuery, wallNow(), terms{timeout: t.timeout})
			if ctx.Err() == nil {
				a.trouble.note(n, p.err)
			}
			close(p.done)
		}
		select {
		case <-p.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if p.err != nil && !p.began.Before(t.since) && !errors.Is(p.err, context.Canceled) {
			return p.err
		}
	}
	return ctx.Err()
}
