package notifier

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/oncall"
)

const (
	probeEvery  = time.Hour
	probeWithin = 20 * time.Second
	scrapeTime  = 2 * time.Second // for what a scrape asks of the store
)

// Prober is a Sender that can say beforehand what would be wrong with its endpoints.
type Prober interface {
	// Probe sends nothing. It returns what is wrong, a sentence without secrets, by endpoint.
	Probe(ctx context.Context) map[oncall.Endpoint]string
}

// EndpointStore is what Endpoints needs of the store.
type EndpointStore interface {
	// DeliveryLog lists deliveries without bodies, newest first.
	DeliveryLog(ctx context.Context, f oncall.DeliveryFilter) ([]oncall.Delivery, error)
	// DeliveryAttempts returns one delivery with its body and the attempts on record, or not_found.
	DeliveryAttempts(ctx context.Context, key string) (oncall.Delivery, []oncall.Attempt, error)
	// EndpointQueues returns what waits, by endpoint.
	EndpointQueues(ctx context.Context) ([]oncall.EndpointQueue, error)
	// LastDelivered returns when each endpoint last took a delivery.
	LastDelivered(ctx context.Context) (map[oncall.Endpoint]time.Time, error)
	// UpdateIncident is IncidentStore's.
	UpdateIncident(ctx context.Context, w oncall.Write, number int64,
		decide func(oncall.Incident) (oncall.Decision, error)) (oncall.Decision, error)
}

// EndpointOptions are what Endpoints needs.
type EndpointOptions struct {
	Store      EndpointStore
	Deliveries *Deliveries
	Policy     func() oncall.Policy  // the policy in force
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are not shown
}

// Endpoints is how people look at what is sent where: the log of deliveries, the state of each endpoint, tests, and
// sending again. It may be used from any goroutine.
type Endpoints struct {
	o     EndpointOptions
	log   *slog.Logger
	probe chan struct{} // capacity 1: wakes Run

	mu    sync.Mutex
	wrong map[oncall.Endpoint]string // what the last probe found; guarded by mu
}

// NewEndpoints makes an Endpoints and registers its metrics. It does nothing by itself before Run. It must be made before
// o.Deliveries is used: each Apply there is followed by a probe.
func NewEndpoints(o EndpointOptions) *Endpoints {
	e := &Endpoints{o: o, log: logger(o.Logger), probe: make(chan struct{}, 1)}
	if o.Registerer != nil {
		o.Registerer.MustRegister(&endpointMetrics{e})
	}
	o.Deliveries.applied = e.Probe
	return e
}

// Probe has Run look at the endpoints now: after the senders have changed. It never blocks.
func (s *Endpoints) Probe() { poke(s.probe) }

// Run looks once an hour, and whenever Probe asks, for what would be wrong with a page, and says so in the log: better
// now than at three in the morning. It ends with ctx.
func (s *Endpoints) Run(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.probe:
		case <-tick.C:
		}
		s.probeAll(ctx)
	}
}

func (s *Endpoints) probeAll(ctx context.Context) {
	setup := s.o.Deliveries.setup.Load()
	if setup == nil {
		return
	}
	within, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	wrong := map[oncall.Endpoint]string{}
	for _, sender := range setup.senders {
		if p, ok := sender.(Prober); ok {
			maps.Copy(wrong, p.Probe(within))
		}
	}
	if ctx.Err() != nil {
		return
	}
	for _, e := range slices.Sorted(maps.Keys(wrong)) {
		s.log.Error("A page to this endpoint would not be sent as things are", "endpoint", e, "err", wrong[e])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = wrong
}

// Circuit is whether an endpoint is asked.
type Circuit string

// The circuit's states.
const (
	CircuitClosed Circuit = "closed"         // as much as its limit allows
	CircuitTrying Circuit = "one_at_a_time"  // the last attempt was not confirmed
	CircuitOff    Circuit = "off"            // it answered 410: nothing is sent until the next reload
	CircuitHere   Circuit = "not_known_here" // another process sends
)

// EndpointView is an endpoint as people see it.
type EndpointView struct {
	Endpoint     oncall.Endpoint `json:"endpoint"`
	Kind         string          `json:"kind"`
	Receivers    []string        `json:"receivers"` // that name it; none for what only Slack's channels are
	Configured   bool            `json:"configured"`
	Waiting      int             `json:"waiting"` // deliveries, retries included
	InFlight     int             `json:"in_flight"`
	OldestSince  time.Time       `json:"oldest_since,omitzero"` // when the oldest of these was decided
	NextAt       time.Time       `json:"next_at,omitzero"`      // when the first that waits may go, as far as its own retries are concerned
	HeldUntil    time.Time       `json:"held_until,omitzero"`   // the far end asked for a pause
	Circuit      Circuit         `json:"circuit"`
	CircuitWhy   string          `json:"circuit_why,omitempty"`
	LastSuccess  time.Time       `json:"last_success,omitzero"`
	LastFailure  time.Time       `json:"last_failure,omitzero"` // since this process began
	Failure      string          `json:"failure,omitempty"`
	FailedStatus int             `json:"failed_status,omitempty"`
	Warning      string          `json:"warning,omitempty"` // what would be wrong with a page now
}

// List returns all endpoints that are configured, or have something to tell, by name.
func (s *Endpoints) List(ctx context.Context) ([]EndpointView, error) {
	queues, err := s.o.Store.EndpointQueues(ctx)
	if err != nil {
		return nil, err
	}
	last, err := s.o.Store.LastDelivered(ctx)
	if err != nil {
		return nil, err
	}
	all := s.configured()
	get := func(e oncall.Endpoint) *EndpointView {
		if all[e] == nil {
			all[e] = &EndpointView{Endpoint: e, Kind: e.Kind(), Receivers: []string{}, Configured: s.sends(e)}
		}
		return all[e]
	}
	for _, q := range queues {
		v := get(q.Endpoint)
		v.Waiting, v.InFlight, v.OldestSince, v.NextAt = q.Waiting, q.Sending, q.Oldest, q.NextAt
	}
	lanes, running := s.o.Deliveries.Lanes()
	for e := range lanes {
		get(e)
	}
	for e, at := range last {
		if all[e] != nil || e.Kind() == "slack" && s.sends(e) { // others have left the configuration
			get(e).LastSuccess = at
		}
	}
	s.mu.Lock()
	wrong := s.wrong
	s.mu.Unlock()
	list := make([]EndpointView, 0, len(all))
	for e, v := range all {
		v.Circuit, v.Warning = CircuitHere, wrong[e]
		if running {
			v.circuit(lanes[e])
		}
		v.past(s.o.Deliveries.past.get(e))
		list = append(list, *v)
	}
	slices.SortFunc(list, func(a, b EndpointView) int { return cmp.Compare(a.Endpoint, b.Endpoint) })
	return list, nil
}

func (v *EndpointView) circuit(l LaneView) {
	v.Circuit, v.CircuitWhy, v.HeldUntil = CircuitClosed, l.Off, l.HeldUntil
	v.InFlight = max(v.InFlight, l.InFlight)
	switch {
	case l.Off != "":
		v.Circuit = CircuitOff
	case l.Failing:
		v.Circuit, v.CircuitWhy = CircuitTrying, "the last attempt was not confirmed"
	}
}

func (v *EndpointView) past(p Past) {
	if p.SuccessAt.After(v.LastSuccess) {
		v.LastSuccess = p.SuccessAt
	}
	v.LastFailure, v.Failure, v.FailedStatus = p.FailureAt, p.Failure, p.Status
}

// sends reports whether anything here sends to an endpoint.
func (s *Endpoints) sends(e oncall.Endpoint) bool {
	setup := s.o.Deliveries.setup.Load()
	return setup != nil && setup.sender(e) != nil
}

// configured are the endpoints of all receivers.
func (s *Endpoints) configured() map[oncall.Endpoint]*EndpointView {
	all := map[oncall.Endpoint]*EndpointView{}
	p := s.o.Policy()
	for _, name := range slices.Sorted(maps.Keys(p.Receivers)) {
		r := p.Receivers[name]
		for _, e := range r.All() {
			if all[e] == nil {
				all[e] = &EndpointView{Endpoint: e, Kind: e.Kind(), Configured: true, Receivers: []string{}}
			}
			if r.Of == "" {
				all[e].Receivers = append(all[e].Receivers, name)
			}
		}
	}
	return all
}

// endpointMetrics counts what waits at each scrape.
type endpointMetrics struct{ *Endpoints }

var (
	queueDesc = prometheus.NewDesc("tocsin_delivery_queue_length",
		"Deliveries that wait for an endpoint or are being sent, by kind of endpoint.", []string{"endpoint"}, nil)
	queueAgeDesc = prometheus.NewDesc("tocsin_delivery_queue_oldest_seconds",
		"Age of the oldest delivery that waits or is being sent, by kind of endpoint.", []string{"endpoint"}, nil)
	circuitDesc = prometheus.NewDesc("tocsin_delivery_endpoints",
		"Endpoints that this process has trouble with, by kind and state: one_at_a_time, off, held, or warned of by a probe.", []string{"endpoint", "state"}, nil)
)

// Describe implements prometheus.Collector.
func (m *endpointMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- queueDesc
	ch <- queueAgeDesc
	ch <- circuitDesc
}

// Collect implements prometheus.Collector. What the store does not tell is left out of this scrape.
func (m *endpointMetrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	if queues, err := m.o.Store.EndpointQueues(ctx); err == nil {
		length, oldest := map[string]int{}, map[string]time.Time{}
		for _, q := range queues {
			k := q.Endpoint.Kind()
			length[k] += q.Waiting + q.Sending
			oldest[k] = earlier(oldest[k], q.Oldest)
		}
		for k, n := range length {
			ch <- prometheus.MustNewConstMetric(queueDesc, prometheus.GaugeValue, float64(n), k)
			ch <- prometheus.MustNewConstMetric(queueAgeDesc, prometheus.GaugeValue, max(0, time.Since(oldest[k]).Seconds()), k)
		}
	}
	type state struct{ kind, state string }
	count := map[state]int{}
	lanes, _ := m.o.Deliveries.Lanes()
	for e, l := range lanes {
		switch {
		case l.Off != "":
			count[state{e.Kind(), string(CircuitOff)}]++
		case l.Failing:
			count[state{e.Kind(), string(CircuitTrying)}]++
		}
		if !l.HeldUntil.IsZero() {
			count[state{e.Kind(), "held"}]++
		}
	}
	m.mu.Lock()
	for e := range m.wrong {
		count[state{e.Kind(), "warned"}]++
	}
	m.mu.Unlock()
	for s, n := range count {
		ch <- prometheus.MustNewConstMetric(circuitDesc, prometheus.GaugeValue, float64(n), s.kind, s.state)
	}
}
