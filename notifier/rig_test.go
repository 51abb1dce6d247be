package notifier_test

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"

	"tocsin/notifier"
	"tocsin/notifier/pager"
	"tocsin/notifier/pager/pagertest"
	"tocsin/oncall"
	"tocsin/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// rig is the two loops on a real SQLite file, with a strict far end for pages and a recording one for
// Slack, in a synctest bubble.
type rig struct {
	t     *testing.T
	store *store.Store
	far   *pagertest.Server
	slack *slackStub
	inc   *notifier.Incidents
	del   *notifier.Deliveries
	acts  *notifier.Acts
	lease oncall.Lease
	pager *pager.Pager
	more  map[string]notifier.Sender // beside those of pages and Slack

	policy oncall.Policy
	stop   context.CancelFunc
	ended  sync.WaitGroup
	errs   chan error
}

// options of a rig; the zero value is fine.
type options struct {
	incidents  func(notifier.IncidentStore) notifier.IncidentStore // wraps the store
	deliveries func(notifier.DeliveryStore) notifier.DeliveryStore
	policy     func(*oncall.Policy)
	metrics    prometheus.Registerer
}

// bubble runs test with a rig in a synctest bubble and checks at its end that the far end minded nothing.
func bubble(t *testing.T, o options, test func(*testing.T, *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, o)
		defer r.close()
		r.start()
		test(t, r)
	})
}

func newRig(t *testing.T, o options) *rig {
	t.Helper()
	r := &rig{t: t, far: pagertest.New(secret), slack: &slackStub{}, policy: testPolicy()}
	if o.policy != nil {
		o.policy(&r.policy)
	}
	var err error
	r.store, err = store.OpenSQLite(t.Context(), t.TempDir(), store.Options{Committed: func(c store.Topics) {
		if c.AlertChanges || c.Incidents {
			r.inc.Wake()
		}
		if c.Deliveries {
			r.del.Wake()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	is, ds := notifier.IncidentStore(r.store), notifier.DeliveryStore(r.store)
	if o.incidents != nil {
		is = o.incidents(is)
	}
	if o.deliveries != nil {
		ds = o.deliveries(ds)
	}
	r.inc = notifier.NewIncidents(notifier.IncidentOptions{Store: is})
	r.del = notifier.NewDeliveries(notifier.DeliveryOptions{Store: ds, Registerer: o.metrics, Mended: r.inc.Mended})
	r.acts = notifier.NewActs(notifier.ActOptions{
		Store: r.store, Policy: func() oncall.Policy { return r.policy }, Transitions: r.store.Transitions, Bundles: r.store,
		ExternalLabels: func() labels.Labels { return labels.FromStrings("cluster", "shop-1") },
	})
	u, err := url.Parse("https://pager.example/page")
	if err != nil {
		t.Fatal(err)
	}
	pages := map[oncall.Endpoint]pager.Config{}
	for _, receiver := range r.policy.Receivers {
		for _, e := range receiver.Endpoints {
			pages[e] = pager.Config{URL: u.JoinPath(e.Address()), Secrets: []string{secret}}
		}
	}
	if r.pager, err = pager.New(pages, pager.Options{Transport: r.far}); err != nil {
		t.Fatal(err)
	}
	return r
}

// start acquires the lease anew and runs both loops, as cmd does.
func (r *rig) start() {
	r.t.Helper()
	lease, _, err := r.store.Acquire(r.t.Context(), "all", "test", time.Now(), time.Minute)
	if err != nil {
		r.t.Fatal(err)
	}
	r.lease = lease
	r.apply(r.policy)
	ctx, cancel := context.WithCancel(r.t.Context())
	r.stop, r.errs = cancel, make(chan error, 2)
	r.ended.Go(func() { r.errs <- r.inc.Run(ctx, lease) })
	r.ended.Go(func() { r.errs <- r.del.Run(ctx, lease) })
}

func (r *rig) apply(p oncall.Policy) {
	r.policy = p
	r.inc.Apply(p)
	senders := map[string]notifier.Sender{"page": r.pager, "slack": r.slack}
	maps.Copy(senders, r.more)
	r.del.Apply(p, senders)
}

// halt ends both loops and waits for them.
func (r *rig) halt() {
	r.stop()
	r.ended.Wait()
}

func (r *rig) close() {
	r.t.Helper()
	r.halt()
	if err := r.store.Close(); err != nil {
		r.t.Error(err)
	}
	for _, p := range r.far.Problems() {
		r.t.Error(p)
	}
}

// pass lets time go by, and everything that is due in it happen.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// fire hands alerts to the incidents, as the evaluator does.
func (r *rig) fire(services ...string) { r.change(oncall.ChangeFiring, services...) }

func (r *rig) change(status oncall.ChangeStatus, services ...string) {
	r.t.Helper()
	e := oncall.Evaluation{At: time.Now()}
	for _, s := range services {
		c := alertOf(s)
		c.Status, c.At, c.StartsAt = status, e.At, e.At
		c.Evidence.At = e.At
		e.Changes = append(e.Changes, c)
	}
	r.evaluate(e)
}

// evaluate commits an evaluation, and hands its changes over as the dispatcher does where nothing mutes them.
func (r *rig) evaluate(e oncall.Evaluation) {
	r.t.Helper()
	w := oncall.Write{Now: time.Now(), Lease: &r.lease}
	changes := e.Changes
	e.Changes = nil
	if err := r.store.CommitEvaluation(r.t.Context(), w, e); err != nil {
		r.t.Fatal(err)
	}
	if err := r.store.CommitDispatch(r.t.Context(), w, oncall.Dispatch{Changes: changes}); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

func alertOf(service string) oncall.AlertChange {
	return oncall.AlertChange{
		Source: "rule:memory", Labels: labels.FromStrings("alertname", "SessionMemoryHigh", "cluster", "shop-1", "service", service, "severity", "critical"),
		Annotations: map[string]string{"summary": "Session memory at 82%"}, Value: "0.82", Escalation: "oncall", Reason: "above the threshold for 2m",
		Evidence: oncall.Evidence{
			Group: "session", File: "rules/session.yml", Expr: "memory / limit > 0.8", RuleHash: "4f2a", Backend: "http://127.0.0.1:9090",
			Metric: labels.FromStrings("service", service), Value: "0.82", For: 2 * time.Minute,
		},
	}
}

func (r *rig) incident(number int64) oncall.Incident {
	r.t.Helper()
	in, err := r.acts.Incident(r.t.Context(), number)
	if err != nil {
		r.t.Fatal(err)
	}
	return in
}

func (r *rig) act(number int64, kind oncall.CommandKind, request string) oncall.Decision {
	r.t.Helper()
	d, err := r.acts.Act(r.t.Context(), number, oncall.Command{Kind: kind, Actor: "ana", Via: "api"}, request)
	if err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
	return d
}

// kinds are the types of the pages that an endpoint acted on, in order, without repeats of a key; of
// a bundle once for each incident.
func (r *rig) kinds(address string) []string {
	var kinds []string
	seen := map[string]bool{}
	for _, p := range r.far.Pages() {
		if p.Path == "/page/"+address && !seen[p.Key] {
			seen[p.Key] = true
			for range p.Count {
				kinds = append(kinds, p.Type[len("incident."):])
			}
		}
	}
	return kinds
}

func (r *rig) wantKinds(address string, want ...string) {
	r.t.Helper()
	if got := r.kinds(address); !slices.Equal(got, want) {
		r.t.Errorf("%s got the pages %v, want %v", address, got, want)
	}
}

// testPolicy: tier 0 tells Slack and ana's phone, tier 1 bo's phone after 5 minutes.
func testPolicy() oncall.Policy {
	phone := func(name string) oncall.Receiver {
		return oncall.Receiver{Name: name, Endpoints: []oncall.Endpoint{oncall.PageEndpoint(name, 0)}}
	}
	return oncall.Policy{
		ExternalURL: "https://tocsin.example", LinkKey: []byte("link key of the test"),
		Escalations: map[string]oncall.Escalation{"oncall": {
			Name: "oncall", GroupBy: []string{"service"}, DeliverWithin: 30 * time.Second,
			Tiers: []oncall.Tier{
				{Targets: []oncall.Target{{Kind: oncall.TargetSlack, Name: "#session"}, {Kind: oncall.TargetUser, Name: "ana"}}},
				{After: 5 * time.Minute, Targets: []oncall.Target{{Kind: oncall.TargetReceiver, Name: "bo-phone"}}},
			},
		}},
		Users:     map[string]oncall.User{"ana": {Name: "ana", Contacts: []oncall.Contact{{Receiver: "ana-phone"}}}},
		Receivers: map[string]oncall.Receiver{"ana-phone": phone("ana-phone"), "bo-phone": phone("bo-phone")},
	}
}

// slackStub is a Slack that takes everything and remembers when.
type slackStub struct {
	mu   sync.Mutex
	sent []sentMessage
}

type sentMessage struct {
	at       time.Time
	delivery oncall.Delivery
	revision int64
	thread   string
	bundle   *oncall.Bundle
}

func (s *slackStub) Send(_ context.Context, m notifier.Message) oncall.Attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := time.Now()
	s.sent = append(s.sent, sentMessage{at, m.Delivery, m.Incident.Revision, m.Thread, m.Bundle})
	remote := fmt.Sprintf("C1/%d", len(s.sent))
	if m.Delivery.Kind == oncall.KindEdit {
		remote = m.Thread // it stays where it is
	}
	return oncall.Attempt{At: at, Outcome: oncall.OutcomeDelivered, Remote: remote, Revision: m.Incident.Revision}
}

func (s *slackStub) all() []sentMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}
