package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"tocsin/oncall"
	"tocsin/store"
)

func testLeases(t *testing.T, e *env) {
	first := e.lease
	equal(t, first.Epoch, int64(1))
	e.must(e.s.Renew(e.ctx(), first, e.now.Add(time.Minute), time.Second))
	second, alive, err := e.s.Acquire(e.ctx(), "main", "other", e.now.Add(time.Hour), time.Minute)
	e.must(err)
	equal(t, []any{second.Epoch, alive}, []any{int64(2), e.now.Add(time.Minute).Truncate(time.Microsecond)})
	e.wantErr(e.s.Renew(e.ctx(), first, e.now.Add(time.Hour), time.Minute), oncall.ErrLeaseLost)
	e.wantErr(e.s.Release(e.ctx(), first, e.now.Add(time.Hour)), oncall.ErrLeaseLost)
	e.must(e.s.Release(e.ctx(), second, e.now.Add(time.Hour)))
	third, alive, err := e.s.Acquire(e.ctx(), "main", "me", e.now.Add(time.Hour), time.Minute)
	e.must(err)
	equal(t, []any{third.Epoch, alive}, []any{int64(3), e.now.Add(time.Hour).Truncate(time.Microsecond)})
	_, alive, err = e.s.Acquire(e.ctx(), "another shard", "me", e.now, time.Minute)
	e.must(err)
	equal(t, alive, time.Time{})
}

func testHold(t *testing.T, e *env) {
	ctx, cancel := context.WithCancel(e.ctx())
	epochs := make(chan int64)
	held := make(chan error, 1)
	go func() {
		held <- e.s.Hold(ctx, "held", "me", func(ctx context.Context, l oncall.Lease, _ time.Time) error {
			epochs <- l.Epoch
			if l.Epoch == 1 {
				return fmt.Errorf("a write: %w", oncall.ErrLeaseLost)
			}
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	equal(t, []int64{<-epochs, <-epochs}, []int64{1, 2})
	cancel()
	e.must(<-held)
	boom := errors.New("boom")
	e.wantErr(e.s.Hold(e.ctx(), "held", "me", func(context.Context, oncall.Lease, time.Time) error { return boom }), boom)
}

func testSecrets(t *testing.T, e *env) {
	secret, err := e.s.Secret(e.ctx(), "links", 32)
	e.must(err)
	other, err := e.s.Secret(e.ctx(), "other", 32)
	e.must(err)
	id, err := e.s.InstanceID(e.ctx())
	e.must(err)
	if len(secret) != 32 || len(id) != 8 || string(secret) == string(other) {
		t.Fatalf("got %d bytes and instance %q", len(secret), id)
	}
	e.must(e.s.Close())
	e.s = e.db.Open(t, store.Options{})
	again, err := e.s.Secret(e.ctx(), "links", 32)
	e.must(err)
	equal(t, again, secret)
	sameID, err := e.s.InstanceID(e.ctx())
	e.must(err)
	equal(t, sameID, id)
	_, err = e.s.Secret(e.ctx(), "links", 16)
	e.wantCode(err, oncall.CodeInternal)
	e.must(e.s.Healthy(e.ctx()))
}

func testTopics(t *testing.T, e *env) {
	e.must(e.s.Close())
	var mu sync.Mutex
	var got store.Topics
	e.s = e.db.Open(t, store.Options{Committed: func(o store.Topics) {
		mu.Lock()
		defer mu.Unlock()
		got = o
	}})
	want := func(what string, o store.Topics) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if got != o {
			t.Fatalf("%s: got %+v, want %+v", what, got, o)
		}
		got = store.Topics{}
	}
	e.acquire()
	want("acquire", store.Topics{})
	e.hand(change(oncall.ChangeFiring, "x", "A", "1"))
	want("dispatch", store.Topics{AlertChanges: true})
	e.apply(10)
	want("changes", store.Topics{Incidents: true, Deliveries: true})
	c := e.claim()[0]
	want("claim", store.Topics{})
	e.finish(c, oncall.DeliveryQueued, e.now)
	want("finish", store.Topics{Deliveries: true})
	e.update(1, func(_ oncall.Incident, d *oncall.Decision) {
		d.Requeue = []oncall.AlertChange{change(oncall.ChangeFiring, "y", "A", "2")}
	})
	want("update", store.Topics{Incidents: true, AlertChanges: true})
	_, err := e.s.UpdateIncident(e.ctx(), e.write(), 1, decision(func(_ oncall.Incident, d *oncall.Decision) { d.Incident.State = "none" }))
	e.wantCode(err, oncall.CodeInternal)
	want("failed update", store.Topics{})
	e.receive("A")
	want("receive", store.Topics{Received: true})
	e.silence(silenceOf("s", e.now))
	want("silence", store.Topics{Silences: true})
	e.must(e.s.AddOverrides(e.ctx(), oncall.Write{Now: e.now}, []oncall.Override{overrideOf("o", start, time.Hour)}))
	want("override", store.Topics{Overrides: true})
	e.dispatch(oncall.Dispatch{Cursor: 1, Deliveries: []oncall.GroupDelivery{notification("n", "team", "g")}})
	want("dispatch without changes", store.Topics{})
}

// testTogether commits many use cases at once, among them some that fail: none disturbs another.
func testTogether(t *testing.T, e *env) {
	in := e.open("x")
	boom := errors.New("boom")
	var wg sync.WaitGroup
	errs := make([]error, 60)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = e.s.UpdateIncident(e.ctx(), oncall.Write{Now: e.now, Urgent: i%2 == 0}, in.Number, func(in oncall.Incident) (oncall.Decision, error) {
				d := oncall.Decision{Changed: true, Incident: in}
				d.Incident.Revision++
				switch i % 6 {
				case 3:
					return d, boom
				case 4:
					panic(boom)
				case 5:
					d.Alerts = []oncall.IncidentAlert{{Fingerprint: "f", State: "burning"}}
				}
				d.Timeline = []oncall.TimelineEntry{{At: e.now, Kind: oncall.EntryNote, Text: fmt.Sprint(i)}}
				return d, nil
			})
		})
	}
	wg.Wait()
	for i, err := range errs {
		if (err == nil) != (i%6 < 3) {
			t.Errorf("use case %d: %v", i, err)
		}
	}
	after := e.load(in.Number)
	equal(t, after.Revision, in.Revision+30)
	equal(t, len(after.Timeline), len(in.Timeline)+30)
}

func testClosed(t *testing.T, e *env) {
	in := e.open("x")
	e.must(e.s.Close())
	e.must(e.s.Close())
	_, err := e.s.UpdateIncident(e.ctx(), e.write(), in.Number, decision(func(oncall.Incident, *oncall.Decision) {}))
	e.wantCode(err, oncall.CodeUnavailable)
	_, err = e.s.Incident(e.ctx(), in.Number)
	e.wantCode(err, oncall.CodeUnavailable)
	e.wantCode(e.s.Healthy(e.ctx()), oncall.CodeUnavailable)
	_, err = e.s.LoadEvaluator(e.ctx())
	e.wantCode(err, oncall.CodeUnavailable)
}
