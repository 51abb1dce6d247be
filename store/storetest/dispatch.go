package storetest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
	"tocsin/store"
)

// posted is an alert as somebody posts it.
func posted(name string) oncall.PostedAlert {
	at := start.Truncate(time.Microsecond)
	return oncall.PostedAlert{
		Labels: labels.FromStrings("alertname", name, "job", "x"), Annotations: labels.FromStrings("summary", "it is <b>"),
		StartsAt: at, EndsAt: at.Add(5 * time.Minute), Timeout: true, GeneratorURL: "http://prometheus.example/graph",
	}
}

// receive posts alerts of these names in one request.
func (e *env) receive(names ...string) {
	e.t.Helper()
	var ps []oncall.PostedAlert
	for _, n := range names {
		ps = append(ps, posted(n))
	}
	e.must(e.s.Receive(e.ctx(), oncall.Write{Now: e.now}, ps))
}

func (e *env) dispatch(d oncall.Dispatch) {
	e.t.Helper()
	e.must(e.s.CommitDispatch(e.ctx(), e.write(), d))
}

func (e *env) dispatchState() oncall.DispatchState {
	e.t.Helper()
	st, err := e.s.LoadDispatch(e.ctx())
	e.must(err)
	return st
}

// log is the log after seq as text: numbers, and names of alerts.
func (e *env) log(seq int64, limit int) string {
	e.t.Helper()
	rs, err := e.s.ReceivedAfter(e.ctx(), seq, limit)
	e.must(err)
	var b strings.Builder
	for _, r := range rs {
		fmt.Fprintf(&b, "%d:", r.Seq)
		for _, p := range r.Posted {
			b.WriteString(" " + p.Labels.Get("alertname"))
		}
		for _, c := range r.Changes {
			b.WriteString(" " + string(c.Status) + " " + c.Labels.Get("alertname"))
		}
		b.WriteString("; ")
	}
	return b.String()
}

func active(name string, seq int64) *oncall.ActiveAlert {
	l := labels.FromStrings("alertname", name)
	return &oncall.ActiveAlert{
		Fingerprint: l.Hash() | 1<<63, Labels: l, Annotations: labels.FromStrings("summary", name), GeneratorURL: "http://x",
		StartsAt: start.UnixMicro(), EndsAt: start.Add(time.Minute).UnixMicro(), UpdatedAt: start.UnixMicro(), ReceivedAt: start.UnixMicro(), Seq: seq,
		Rules: []oncall.AlertChange{change(oncall.ChangeFiring, "g", name, "fires")}, Incidents: []oncall.IncidentTold{{Escalation: "team", Muted: true}},
	}
}

func group(key string, flushed time.Time) oncall.GroupRecord {
	return oncall.GroupRecord{
		Key: key, Route: "{}/0", Labels: labels.FromStrings("alertname", "A"), Anchor: start, Flushed: flushed, Muted: []string{"nights"},
		Notified: map[oncall.Endpoint]oncall.Notice{"webhook_configs:team/0": {At: flushed, Firing: []uint64{1, 1<<64 - 1}, Resolved: []uint64{2}, Remote: `{"thread":"1"}`}},
	}
}

func notification(key, receiver, groupKey string) oncall.GroupDelivery {
	at := start.Truncate(time.Microsecond)
	return oncall.GroupDelivery{
		Key: key, Endpoint: oncall.IntegrationEndpoint("webhook_configs", receiver, 0), Receiver: receiver, GroupKey: groupKey, Route: "{}/0",
		GroupLabels: labels.FromStrings("alertname", "A"), Reason: "FirstNotification", Firing: 1, Resolved: 1,
		Alerts: []oncall.GroupAlert{{Labels: labels.FromStrings("alertname", "A", "i", key), StartsAt: at, UpdatedAt: at}, {Labels: labels.FromStrings("alertname", "B"), StartsAt: at, EndsAt: at, UpdatedAt: at}},
		Notice: oncall.Notice{At: at, Firing: []uint64{1<<64 - 1}},
		State:  oncall.DeliverySending, Attempts: 1, CreatedAt: at, FirstAttemptAt: at,
	}
}

// finished is the delivery after its attempt.
func finished(d oncall.GroupDelivery, state oncall.DeliveryState, now time.Time) oncall.GroupDelivery {
	d.State, d.Status, d.Alerts, d.Notice = state, 200, nil, oncall.Notice{}
	if state.Final() {
		d.DoneAt = now.Truncate(time.Microsecond)
	} else {
		d.Status, d.Error, d.NextAt = 503, "busy", now.Add(time.Second).Truncate(time.Microsecond)
	}
	return d
}

func testReceived(t *testing.T, e *env) {
	equal(t, e.log(0, 10), "")
	e.receive("A", "B")
	e.receive("C")
	e.must(e.s.Receive(e.ctx(), oncall.Write{Now: e.now}, nil)) // nothing is not worth a row
	equal(t, e.log(0, 10), "1: A B; 2: C; ")
	equal(t, e.log(1, 10), "2: C; ")
	equal(t, e.log(0, 1), "1: A B; ")
	rs, err := e.s.ReceivedAfter(e.ctx(), 0, 1)
	e.must(err)
	equal(t, rs[0], oncall.Received{Seq: 1, At: start.Truncate(time.Microsecond), Posted: []oncall.PostedAlert{posted("A"), posted("B")}})
	e.reopen(store.Options{})
	e.receive("D")
	equal(t, e.log(0, 10), "1: A B; 2: C; 3: D; ")
}

// testReceivedLarge posts so much that it takes several rows, and more than are read at once.
func testReceivedLarge(t *testing.T, e *env) {
	var ps []oncall.PostedAlert
	for i := range 2500 {
		ps = append(ps, posted(fmt.Sprint("A", i)))
	}
	big := posted("big")
	big.Annotations = labels.FromStrings("text", strings.Repeat("x", 3<<20))
	ps = append(ps, big, big, posted("last"))
	e.must(e.s.Receive(e.ctx(), oncall.Write{Now: e.now, Request: "r"}, ps))
	var got []oncall.PostedAlert
	rows, reads := 0, 0
	for seq := int64(0); ; reads++ {
		rs, err := e.s.ReceivedAfter(e.ctx(), seq, 1000)
		e.must(err)
		if len(rs) == 0 {
			break
		}
		for _, r := range rs {
			equal(t, r.Seq, seq+1)
			seq = r.Seq
			rows++
			got = append(got, r.Posted...)
		}
	}
	equal(t, len(got), len(ps))
	for i := range ps {
		if !labels.Equal(got[i].Labels, ps[i].Labels) {
			t.Fatalf("alert %d is %s, want %s", i, got[i].Labels, ps[i].Labels)
		}
	}
	if rows < 5 || rows > 20 || reads != 2 {
		t.Errorf("%d rows, read %d times", rows, reads)
	}
	e.wantErr(e.s.Receive(e.ctx(), oncall.Write{Now: e.now, Request: "r"}, ps[:1]), oncall.ErrRequestSeen)
}

func testReceivedRefused(t *testing.T, e *env) {
	ctx, cancel := context.WithCancel(e.ctx())
	cancel()
	e.wantCode(e.s.Receive(ctx, oncall.Write{Now: e.now}, []oncall.PostedAlert{posted("A")}), oncall.CodeUnavailable)
	equal(t, e.log(0, 10), "")
	e.must(e.s.Close())
	e.wantCode(e.s.Receive(e.ctx(), oncall.Write{Now: e.now}, []oncall.PostedAlert{posted("A")}), oncall.CodeUnavailable)
}

// testEvaluationsAreReceived: what an evaluation changes is in the log with what is posted, in order.
func testEvaluationsAreReceived(t *testing.T, e *env) {
	e.receive("A")
	evaluate := func(n int) {
		var cs []oncall.AlertChange
		for i := range n {
			cs = append(cs, change(oncall.ChangeFiring, "g", fmt.Sprint("R", i), "fires"))
		}
		e.must(e.s.CommitEvaluation(e.ctx(), e.write(), oncall.Evaluation{At: e.now, Upserts: []oncall.Alert{alertNamed("R", 1)}, Changes: cs}))
	}
	evaluate(2)
	e.receive("B")
	equal(t, e.log(0, 10), "1: A; 2: firing R0 firing R1; 3: B; ")
	equal(t, e.apply(10), 0)
	evaluate(2001)
	rs, err := e.s.ReceivedAfter(e.ctx(), 3, 10)
	e.must(err)
	n := 0
	for _, r := range rs {
		for _, c := range r.Changes {
			equal(t, c.Labels.Get("alertname"), fmt.Sprint("R", n))
			n++
		}
	}
	equal(t, []int{n, len(rs)}, []int{2001, 3})
	evaluate(0)
	equal(t, e.log(6, 10), "")
}

func testDispatch(t *testing.T, e *env) {
	equal(t, e.dispatchState(), oncall.DispatchState{})
	e.dispatch(oncall.Dispatch{})
	e.receive("A")
	e.receive("B")
	a, b := notification("one", "team", "{}:{a}"), notification("two", "other", strings.Repeat("long", 1000))
	d := oncall.Dispatch{
		Cursor: 1, Changes: []oncall.AlertChange{change(oncall.ChangeFiring, "x", "A", "by a route")},
		Groups: []oncall.GroupRecord{group("{}:{a}", start), group(strings.Repeat("long", 1000), start)}, Deliveries: []oncall.GroupDelivery{a, b},
		Alerts: []*oncall.ActiveAlert{active("A", 1), active("B", 0)},
	}
	e.dispatch(d)
	a.Seq, b.Seq = 1, 2
	want := oncall.DispatchState{Cursor: 1, Alerts: d.Alerts, Groups: d.Groups, Deliveries: []oncall.GroupDelivery{a, b}}
	e.wantState(want)
	equal(t, e.apply(10), 1)

	e.reopen(store.Options{})
	e.wantState(want)
	// The same once more, as after a commit of which nobody knew.
	e.dispatch(d)
	e.wantState(want)

	later := group("{}:{a}", start.Add(time.Minute))
	e.dispatch(oncall.Dispatch{
		Cursor: 2, Groups: []oncall.GroupRecord{group("{}:{a}", start), later}, GroupsGone: []string{d.Groups[1].Key, "unknown", "{}:{a}"},
		Results: []oncall.GroupDelivery{finished(a, oncall.DeliveryQueued, e.now), finished(b, oncall.DeliveryDelivered, e.now)},
		Alerts:  []*oncall.ActiveAlert{active("A", 2)}, AlertsGone: []uint64{active("B", 0).Fingerprint, 17},
	})
	retried := finished(a, oncall.DeliveryQueued, e.now)
	retried.Alerts, retried.Notice = a.Alerts, a.Notice
	e.wantState(oncall.DispatchState{Cursor: 2, Alerts: []*oncall.ActiveAlert{active("A", 2)}, Groups: []oncall.GroupRecord{later}, Deliveries: []oncall.GroupDelivery{retried}})
	// An older one does not move it back.
	e.dispatch(oncall.Dispatch{Cursor: 1})
	equal(t, e.dispatchState().Cursor, int64(2))
}

// wantState compares without order what has none.
func (e *env) wantState(want oncall.DispatchState) {
	e.t.Helper()
	equal(e.t, sorted(e.dispatchState()), sorted(want))
}

func testGroupResults(t *testing.T, e *env) {
	a, b, c := notification("a", "team", "{}:{a}"), notification("b", "team", "{}:{b}"), notification("c", "other", "{}:{a}")
	c.State, c.Attempts, c.FirstAttemptAt = oncall.DeliveryQueued, 0, time.Time{}
	e.dispatch(oncall.Dispatch{Deliveries: []oncall.GroupDelivery{a, b, c}})
	list := func(f oncall.GroupDeliveryFilter) (out string) {
		ds, err := e.s.GroupDeliveries(e.ctx(), f)
		e.must(err)
		for _, d := range ds {
			out += d.Key + " " + string(d.State) + "; "
		}
		return out
	}
	equal(t, list(oncall.GroupDeliveryFilter{}), "c queued; b sending; a sending; ")
	equal(t, list(oncall.GroupDeliveryFilter{Receiver: "team"}), "b sending; a sending; ")
	equal(t, list(oncall.GroupDeliveryFilter{GroupKey: "{}:{a}"}), "c queued; a sending; ")
	equal(t, list(oncall.GroupDeliveryFilter{GroupKey: "{}:{a}", Receiver: "team"}), "a sending; ")
	equal(t, list(oncall.GroupDeliveryFilter{Limit: 1, Before: 3}), "b sending; ")
	equal(t, list(oncall.GroupDeliveryFilter{Receiver: "none"}), "")

	done := finished(a, oncall.DeliveryRefused, e.now)
	done.Error, done.Excerpt, done.Status = "no \x00 such", "<html>\xff", 404
	e.dispatch(oncall.Dispatch{Results: []oncall.GroupDelivery{finished(a, oncall.DeliveryQueued, e.now), done}}) // the last one counts
	e.dispatch(oncall.Dispatch{Results: []oncall.GroupDelivery{finished(a, oncall.DeliveryDelivered, e.now)}})    // it was refused, and stays so
	ds, err := e.s.GroupDeliveries(e.ctx(), oncall.GroupDeliveryFilter{GroupKey: "{}:{a}", Receiver: "team"})
	e.must(err)
	done.Seq, done.Error, done.Excerpt = 1, "no  such", "<html>\uFFFD"
	equal(t, ds, []oncall.GroupDelivery{done})

	// One whose key is there, or that is finished when it is decided, does no harm.
	dropped := notification("d", "team", "{}:{d}")
	dropped.State = oncall.DeliveryDropped
	e.dispatch(oncall.Dispatch{Deliveries: []oncall.GroupDelivery{notification("a", "team", "{}:{a}"), dropped}})
	equal(t, list(oncall.GroupDeliveryFilter{}), "d dropped; c queued; b sending; a refused; ")
	equal(t, len(e.dispatchState().Deliveries), 2)

	unknown := finished(notification("x", "team", "{}:{x}"), oncall.DeliveryDelivered, e.now)
	e.wantCode(e.s.CommitDispatch(e.ctx(), e.write(), oncall.Dispatch{Cursor: 1, Results: []oncall.GroupDelivery{finished(b, oncall.DeliveryDelivered, e.now), unknown}}), oncall.CodeInternal)
	equal(t, list(oncall.GroupDeliveryFilter{Limit: 3}), "d dropped; c queued; b sending; ")
	equal(t, e.dispatchState().Cursor, int64(0))
}

// testDispatchMany commits as much as goes into one transaction.
func testDispatchMany(t *testing.T, e *env) {
	var d oncall.Dispatch
	for i := range 500 {
		n := notification(fmt.Sprint("n", i), "team", fmt.Sprint("g", i))
		d.Deliveries = append(d.Deliveries, n)
		d.Groups = append(d.Groups, group(fmt.Sprint("g", i), start))
		d.Alerts = append(d.Alerts, active(fmt.Sprint("A", i), 0))
		d.Results = append(d.Results, finished(n, oncall.DeliveryDelivered, e.now))
	}
	results := d.Results
	d.Results = results[:250]
	e.dispatch(d)
	st := e.dispatchState()
	equal(t, []int{len(st.Alerts), len(st.Groups), len(st.Deliveries)}, []int{500, 500, 250})
	for i, x := range st.Deliveries {
		equal(t, []any{x.Key, x.Seq}, []any{fmt.Sprint("n", 250+i), int64(251 + i)})
	}
	gone := oncall.Dispatch{Results: results}
	for _, a := range d.Alerts {
		gone.AlertsGone = append(gone.AlertsGone, a.Fingerprint)
	}
	for _, g := range d.Groups {
		gone.GroupsGone = append(gone.GroupsGone, g.Key)
	}
	e.dispatch(gone)
	equal(t, e.dispatchState(), oncall.DispatchState{})
}

func testTrim(t *testing.T, e *env) {
	for i := range 200 {
		e.receive(fmt.Sprint("A", i))
	}
	e.wantCode(e.s.CommitDispatch(e.ctx(), e.write(), oncall.Dispatch{Cursor: 10, Trim: 11, Alerts: []*oncall.ActiveAlert{active("A", 1)}}), oncall.CodeInternal)
	equal(t, e.dispatchState(), oncall.DispatchState{})
	e.dispatch(oncall.Dispatch{Cursor: 199, Trim: 150, Alerts: []*oncall.ActiveAlert{active("A", 1)}})
	st := e.dispatchState()
	equal(t, []int64{st.Cursor, st.Trimmed, int64(len(st.Alerts))}, []int64{199, 150, 1})
	e.await("the log is trimmed", func() bool {
		rs, err := e.s.ReceivedAfter(e.ctx(), 0, 1000)
		e.must(err)
		return len(rs) == 50 && rs[0].Seq == 151
	})
	e.dispatch(oncall.Dispatch{Trim: 100})
	equal(t, e.dispatchState().Trimmed, int64(150))
	e.reopen(store.Options{})
	e.receive("last")
	equal(t, e.log(199, 10), "200: A199; 201: last; ")
}

// await waits until what another goroutine of the store does is done.
func (e *env) await(what string, done func() bool) {
	e.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-limit:
			e.t.Fatalf("30 s later it is still not so that %s", what)
		}
	}
}

// testDispatchLease: who lost the watch changes nothing.
func testDispatchLease(t *testing.T, e *env) {
	e.receive("A")
	lost := e.lease
	old := oncall.Write{Now: e.now, Lease: &lost}
	e.acquire()
	silence := silenceOf("s", start.Add(time.Hour))
	e.wantErr(e.s.CommitDispatch(e.ctx(), old, oncall.Dispatch{
		Cursor: 1, Trim: 1, Changes: []oncall.AlertChange{change(oncall.ChangeFiring, "x", "A", "never")},
		Groups: []oncall.GroupRecord{group("g", start)}, Deliveries: []oncall.GroupDelivery{notification("n", "team", "g")},
		Alerts: []*oncall.ActiveAlert{active("A", 1)}, Silences: []oncall.Silence{silence},
	}), oncall.ErrLeaseLost)
	equal(t, e.dispatchState(), oncall.DispatchState{})
	equal(t, e.apply(10), 0)
	equal(t, e.log(0, 10), "1: A; ")
	equal(t, e.silences(), "")
}

func testPruneDispatch(t *testing.T, e *env) {
	var ds, done []oncall.GroupDelivery
	for i := range 1200 {
		ds = append(ds, notification(fmt.Sprint("n", i), "team", "g"))
		done = append(done, finished(ds[i], oncall.DeliveryDelivered, e.now))
	}
	e.dispatch(oncall.Dispatch{Deliveries: ds, Results: done[:1100]})
	count := func() int {
		all, err := e.s.GroupDeliveries(e.ctx(), oncall.GroupDeliveryFilter{Limit: 5000})
		e.must(err)
		return len(all)
	}
	prune := func(after, retention time.Duration) {
		_, err := e.s.Prune(e.ctx(), start.Add(after), retention)
		e.must(err)
	}
	prune(oncall.GroupDeliveriesKept, 1000*time.Hour)
	equal(t, count(), 1200)
	prune(time.Hour, time.Hour-time.Second) // the user wants less
	equal(t, count(), 100)
	e.dispatch(oncall.Dispatch{Results: done[1100:]})
	prune(oncall.GroupDeliveriesKept+time.Second, 1000*time.Hour)
	equal(t, count(), 0)
}
