// Package storetest is the conformance suite of the store: every kind of database passes the same tests.
// It is for tests only. Start reading at Run; property.go holds the random walk over all use cases.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
	"tocsin/store"
)

// Database is one database that starts empty and can be opened again after it was closed.
type Database struct {
	Open func(testing.TB, store.Options) *store.Store // the caller closes the store
}

// suite is what holds on every database, each case on an empty one.
var suite = []struct {
	name string
	run  func(*testing.T, *env)
}{
	{"evaluator/round trip", testEvaluator},
	{"evaluator/transitions", testTransitions},
	{"evaluator/resolved since", testResolvedSince},
	{"changes/open and extend", testOpenAndExtend},
	{"changes/resolved go to all holders", testAllHolders},
	{"changes/limit", testLimit},
	{"changes/nothing decided", testNothingDecided},
	{"changes/nowhere", testNowhere},
	{"changes/requeue", testRequeue},
	{"changes/requeue-order", testRequeueOrder},
	{"changes/closed-by-hand", testClosedByHand},
	{"changes/goes on", testGoesOn},
	{"changes/merged", testMerged},
	{"changes/failing decision", testFailingChanges},
	{"changes/long names", testLongNames},
	{"changes/many new", testManyNew},
	{"changes/many new and a failure", testManyNewFail},
	{"incidents/update", testUpdate},
	{"incidents/rollback", testRollback},
	{"incidents/request", testRequest},
	{"incidents/due", testDue},
	{"incidents/list", testList},
	{"incidents/timeline", testTimeline},
	{"incidents/prune", testPrune},
	{"incidents/caller leaves", testCallerLeaves},
	{"incidents/opening", testOpening},
	{"deliveries/claim order", testClaimOrder},
	{"deliveries/one in flight", testOneInFlight},
	{"deliveries/free and limit", testFree},
	{"deliveries/next", testNext},
	{"deliveries/older epoch", testOlderEpoch},
	{"deliveries/finish", testFinish},
	{"deliveries/confirmed later", testConfirm},
	{"deliveries/confirmed before the result", testConfirmEarly},
	{"deliveries/reported as failed", testConfirmFailed},
	{"deliveries/finish twice", testFinishTwice},
	{"deliveries/hostile text", testHostileText},
	{"deliveries/drop", testDrop},
	{"deliveries/drop decides again", testDropAgain},
	{"deliveries/edits", testEdits},
	{"deliveries/hastened edits", testHasten},
	{"deliveries/threads", testThreads},
	{"deliveries/same key", testSameKey},
	{"deliveries/kinds", testKinds},
	{"deliveries/bundle", testBundle},
	{"deliveries/bundles and room", testBundleRoom},
	{"deliveries/bundle refused", testBundleRefused},
	{"deliveries/bundle and crash", testBundleCrash},
	{"deliveries/bundle confirmed later", testBundleConfirmed},
	{"deliveries/bundle and drill", testBundleDrill},
	{"deliveries/bundle posted", testBundlePosted},
	{"deliveries/log", testDeliveryLog},
	{"deliveries/attempts", testDeliveryAttempts},
	{"deliveries/queues", testEndpointQueues},
	{"series/queue", testSeriesQueue},
	{"series/bound", testSeriesBound},
	{"series/lease", testSeriesLease},
	{"received/log", testReceived},
	{"received/large", testReceivedLarge},
	{"received/refused", testReceivedRefused},
	{"received/evaluations", testEvaluationsAreReceived},
	{"dispatch/round trip", testDispatch},
	{"dispatch/results", testGroupResults},
	{"dispatch/many", testDispatchMany},
	{"dispatch/trim", testTrim},
	{"dispatch/lease", testDispatchLease},
	{"dispatch/prune", testPruneDispatch},
	{"silences/update", testSilences},
	{"silences/noted", testSilencesNoted},
	{"silences/prune", testPruneSilences},
	{"overrides/add", testOverrides},
	{"overrides/end", testEndOverride},
	{"overrides/prune", testPruneOverrides},
	{"handoffs/latest", testHandoffs},
	{"drills", testDrills},
	{"jobs", testJobs},
	{"heartbeats", testHeartbeats},
	{"backlog", testBacklog},
	{"calendars", testCalendars},
	{"leases/epochs", testLeases},
	{"leases/hold", testHold},
	{"meta/secrets", testSecrets},
	{"commits/topics", testTopics},
	{"commits/together", testTogether},
	{"commits/closed", testClosed},
}

// Run runs the suite. fresh returns a new, empty database.
func Run(t *testing.T, fresh func(testing.TB) Database) {
	for _, c := range suite {
		t.Run(c.name, func(t *testing.T) {
			e := newEnv(t, fresh(t), store.Options{})
			c.run(t, e)
		})
	}
	t.Run("property", func(t *testing.T) { testProperty(t, fresh) })
	t.Run("property of dispatch", func(t *testing.T) { testDispatchProperty(t, fresh) })
}

// start is when the tests' time begins. It has a part that is smaller than the store can keep.
var start = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// env is an open store with a lease.
type env struct {
	t     testing.TB
	db    Database
	s     *store.Store
	lease oncall.Lease
	now   time.Time
}

func newEnv(t testing.TB, db Database, o store.Options) *env {
	e := &env{t: t, db: db, now: start}
	e.s = db.Open(t, o)
	t.Cleanup(func() { e.s.Close() }) //nolint:errcheck // closed already by some tests
	e.acquire()
	return e
}

func (e *env) ctx() context.Context { return context.Background() }

const longTTL = 1000 * time.Hour

func (e *env) acquire() {
	e.t.Helper()
	l, _, err := e.s.Acquire(e.ctx(), "main", "me", e.now, longTTL)
	e.must(err)
	e.lease = l
}

func (e *env) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) wantErr(err, want error) {
	e.t.Helper()
	if !errors.Is(err, want) {
		e.t.Fatalf("got error %v, want %v", err, want)
	}
}

func (e *env) wantCode(err error, want oncall.Code) {
	e.t.Helper()
	if oncall.ErrorCode(err) != want {
		e.t.Fatalf("got error %v (code %q), want code %q", err, oncall.ErrorCode(err), want)
	}
}

func (e *env) write() oncall.Write { return oncall.Write{Now: e.now, Lease: &e.lease} }

func equal(t testing.TB, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateEmpty(), cmp.AllowUnexported(oncall.Override{}), cmp.Comparer(labels.Equal)); diff != "" {
		t.Fatalf("differs (-want +got):\n%s", diff)
	}
}

// change is a change of the alert named alert of the group group.
func change(status oncall.ChangeStatus, group, alert, reason string) oncall.AlertChange {
	return oncall.AlertChange{
		At: start, Source: "rule:r", Status: status, Reason: reason, Escalation: "team",
		Labels: labels.FromStrings("alertname", alert, "group", group), StartsAt: start,
	}
}

// reopen opens the store again, as a restart does.
func (e *env) reopen(o store.Options) {
	e.t.Helper()
	e.must(e.s.Close())
	e.s = e.db.Open(e.t, o)
	e.acquire()
}

// hand hands changes to the incidents as the dispatcher does.
func (e *env) hand(cs ...oncall.AlertChange) {
	e.t.Helper()
	e.must(e.s.CommitDispatch(e.ctx(), e.write(), oncall.Dispatch{Changes: cs}))
}

// apply applies the waiting changes with the simple decision.
func (e *env) apply(limit int) int {
	e.t.Helper()
	n, err := e.s.ApplyAlertChanges(e.ctx(), e.write(), limit, place, e.decideChanges)
	e.must(err)
	return n
}

// open hands a firing alert over and returns the incident it opened.
func (e *env) open(group string) oncall.Incident {
	e.t.Helper()
	e.hand(change(oncall.ChangeFiring, group, "A", "opens "+group))
	e.apply(1000)
	list, err := e.s.Incidents(e.ctx(), oncall.IncidentFilter{Limit: 1})
	e.must(err)
	return e.load(list[0].Number)
}

func (e *env) load(number int64) oncall.Incident {
	e.t.Helper()
	in, err := e.s.Incident(e.ctx(), number)
	e.must(err)
	return in
}

// update runs f on the incident and commits what it decides.
func (e *env) update(number int64, f func(oncall.Incident, *oncall.Decision)) {
	e.t.Helper()
	_, err := e.s.UpdateIncident(e.ctx(), e.write(), number, decision(f))
	e.must(err)
}

func decision(f func(oncall.Incident, *oncall.Decision)) func(oncall.Incident) (oncall.Decision, error) {
	return func(in oncall.Incident) (oncall.Decision, error) {
		d := oncall.Decision{Changed: true, Incident: in}
		f(in, &d)
		return d, nil
	}
}

func place(c oncall.AlertChange) oncall.Place {
	g := c.Labels.Get("group")
	return oncall.Place{Escalation: c.Escalation, GroupKey: g, GroupLabels: labels.FromStrings("group", g), Why: "by group"}
}

// decideChanges is the simplest decision that exercises everything: each change is noted by its reason, and
// an incident whose alerts have all resolved is resolved.
func (e *env) decideChanges(in oncall.Incident, cs []oncall.AlertChange) (oncall.Decision, error) {
	now := e.now
	d := oncall.Decision{Changed: true}
	if in.State == "" {
		in.State, in.TriggeredAt = oncall.IncidentTriggered, now
		in.NextAt = now.Add(time.Minute)
		d.Deliveries = append(d.Deliveries, page(in, "page:a/0", "first"))
	}
	alerts := map[oncall.Fingerprint]oncall.IncidentAlert{}
	firing := 0
	for _, a := range in.Alerts {
		alerts[a.Fingerprint] = a
		if a.State == oncall.StateFiring {
			firing++
		}
	}
	for _, c := range cs {
		fp := oncall.FingerprintOf(c.Labels)
		a, known := alerts[fp]
		was := known && a.State == oncall.StateFiring
		a.Fingerprint, a.Labels, a.Reason = fp, c.Labels, c.Reason
		if c.Status == oncall.ChangeResolved {
			a.State = oncall.StateResolved
		} else {
			a.State = oncall.StateFiring
		}
		if is := a.State == oncall.StateFiring; is && !was {
			firing++
		} else if was && !is {
			firing--
		}
		alerts[fp] = a
		d.Alerts = append(d.Alerts, a)
		d.Timeline = append(d.Timeline, oncall.TimelineEntry{At: now, Kind: oncall.EntryAlertFiring, Text: c.Reason})
	}
	if firing == 0 && in.Open() {
		resolve(&in, now)
	}
	in.Revision++
	d.Incident = in
	return d, nil
}

func resolve(in *oncall.Incident, now time.Time) {
	in.State, in.ResolvedAt, in.NextAt = oncall.IncidentResolved, now, time.Time{}
}

// page is a delivery of the incident that asks for attention; what makes its key.
func page(in oncall.Incident, e oncall.Endpoint, what string) oncall.Delivery {
	return oncall.Delivery{
		Key: oncall.DeliveryKey(in.Key, what, e), Incident: in.Number, Endpoint: e, Kind: oncall.KindTriggered,
		Target: "user ana", User: "ana", Body: []byte(fmt.Sprintf("{%q: %q}", what, in.Key)),
	}
}

// every is a free for ClaimDeliveries that has room for all.
func every(oncall.Endpoint, string) int { return 1000 }

// claimUpTo claims what there is room for.
func (e *env) claimUpTo(limit int, free func(oncall.Endpoint, string) int) oncall.Claimed {
	e.t.Helper()
	c, err := e.s.ClaimDeliveries(e.ctx(), e.write(), oncall.ClaimRequest{Limit: limit, Free: free})
	e.must(err)
	return c
}

// claim claims all that is due.
func (e *env) claim() []oncall.Claim {
	e.t.Helper()
	return e.claimUpTo(1000, every).Claims
}

func keys(cs []oncall.Claim) []string {
	var ks []string
	for _, c := range cs {
		ks = append(ks, c.Delivery.Key)
	}
	return ks
}

// finish commits the result of a claimed delivery.
func (e *env) finish(c oncall.Claim, state oncall.DeliveryState, next time.Time) {
	e.t.Helper()
	a := oncall.Attempt{At: e.now, Number: c.Delivery.Attempts, Outcome: oncall.OutcomeDelivered, Status: 200}
	e.must(e.s.FinishDelivery(e.ctx(), e.write(), c.Delivery.Key, a, state, next, nil))
}
