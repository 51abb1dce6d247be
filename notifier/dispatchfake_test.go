package notifier_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	"tocsin/oncall"
)

// dispatchFake is a store of what the dispatcher reads and writes, in memory. Alerts go through their packed
// form, so that nothing survives a restart that a database would not keep.
type dispatchFake struct {
	t  testing.TB
	mu sync.Mutex

	log        []oncall.Received
	logSeq     int64
	cursor     int64
	trimmed    int64
	alerts     map[uint64][]byte
	groups     map[string]oncall.GroupRecord
	deliveries map[string]oncall.GroupDelivery
	order      []string // keys of deliveries
	changes    []oncall.AlertChange
	silences   map[string]oncall.Silence
	version    int64
	commits    int

	endless bool          // whoever reads the log finds one more row, which takes a while
	takes   time.Duration // each commit

	fail func(d oncall.Dispatch) (before, after error) // asked at each commit
}

func newDispatchFake(t testing.TB) *dispatchFake {
	return &dispatchFake{
		t: t, alerts: map[uint64][]byte{}, groups: map[string]oncall.GroupRecord{},
		deliveries: map[string]oncall.GroupDelivery{}, silences: map[string]oncall.Silence{},
	}
}

func (f *dispatchFake) LoadDispatch(context.Context) (oncall.DispatchState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := oncall.DispatchState{Cursor: f.cursor, Trimmed: f.trimmed}
	for _, b := range f.alerts {
		a, err := oncall.UnpackAlert(b)
		if err != nil {
			return s, err
		}
		s.Alerts = append(s.Alerts, a)
	}
	s.Groups = slices.Collect(maps.Values(f.groups))
	for _, key := range f.order {
		if d := f.deliveries[key]; !d.State.Final() {
			s.Deliveries = append(s.Deliveries, d)
		}
	}
	return s, nil
}

func (f *dispatchFake) ReceivedAfter(_ context.Context, seq int64, limit int) ([]oncall.Received, error) {
	if f.endless {
		time.Sleep(10 * time.Millisecond) // not under the lock: a bubble's clock stands still while somebody waits for one
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.endless {
		f.logSeq++
		f.log = append(f.log, oncall.Received{Seq: f.logSeq, At: time.Now()})
	}
	i, _ := slices.BinarySearchFunc(f.log, seq+1, func(r oncall.Received, s int64) int { return cmp.Compare(r.Seq, s) })
	return slices.Clone(f.log[i:min(len(f.log), i+limit)]), nil
}

// slow has each commit take so long from now on.
func (f *dispatchFake) slow(each time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.takes = each
}

func (f *dispatchFake) CommitDispatch(_ context.Context, w oncall.Write, d oncall.Dispatch) error {
	f.mu.Lock()
	takes := f.takes
	f.mu.Unlock()
	time.Sleep(takes)
	f.mu.Lock()
	defer f.mu.Unlock()
	var before, after error
	if f.fail != nil {
		before, after = f.fail(d)
	}
	if before != nil {
		return before
	}
	if d.Size() > 2000 {
		f.t.Errorf("a commit writes %d rows", d.Size())
	}
	if d.Cursor != 0 && d.Cursor < f.cursor {
		f.t.Errorf("the cursor went back from %d to %d", f.cursor, d.Cursor)
	}
	f.commits++
	f.cursor = max(f.cursor, d.Cursor)
	f.changes = append(f.changes, d.Changes...)
	for _, key := range d.GroupsGone { // first, as in the store
		delete(f.groups, key)
	}
	for _, g := range d.Groups {
		f.groups[g.Key] = g
	}
	for _, n := range slices.Concat(d.Deliveries, d.Results) {
		if _, ok := f.deliveries[n.Key]; !ok {
			f.order = append(f.order, n.Key)
		}
		if n.State.Final() != (n.Alerts == nil) {
			f.t.Errorf("%s is %s with %d alerts", n.Key, n.State, len(n.Alerts))
		}
		f.deliveries[n.Key] = n
	}
	for _, s := range d.Silences {
		f.silences[s.ID] = s
		f.version++
	}
	for _, fp := range d.AlertsGone {
		delete(f.alerts, fp)
	}
	for _, a := range d.Alerts {
		f.alerts[a.Fingerprint] = oncall.PackAlert(a)
	}
	if d.Trim > f.trimmed {
		f.trimmed = d.Trim
		f.log = slices.DeleteFunc(f.log, func(r oncall.Received) bool { return r.Seq <= d.Trim })
	}
	return after
}

func (f *dispatchFake) Silences(context.Context) ([]oncall.Silence, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.silences)), f.version, nil
}

func (f *dispatchFake) SilencesVersion(context.Context) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.version, nil
}

func (f *dispatchFake) UpdateSilence(_ context.Context, _ oncall.Write, id string,
	decide func(oncall.Silence, bool) ([]oncall.Silence, error)) ([]oncall.Silence, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.silences[id]
	changed, err := decide(s, ok)
	for _, c := range changed {
		f.silences[c.ID] = c
		f.version++
	}
	return changed, err
}

// written is the number of commits so far.
func (f *dispatchFake) written() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.commits
}

// append adds a row to the log, through its packed form.
func (f *dispatchFake) append(r oncall.Received) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logSeq++
	got, err := oncall.UnpackReceived(oncall.PackReceived(r))
	if err != nil {
		f.t.Error(err)
	}
	got.Seq = f.logSeq
	f.log = append(f.log, got)
}

// desk is a dispatcher between the fakes, in a bubble.
type desk struct {
	t        *testing.T
	store    *dispatchFake
	silences *notifier.Silences
	d        *notifier.Dispatcher
	far      *farEnd
	policy   oncall.Policy
	options  notifier.DispatcherOptions
	began    time.Time
	alive    time.Time
	stop     context.CancelFunc
	ended    chan error
	nextID   int
	last     oncall.AlertChange // that told returned
}

func deskTest(t *testing.T, policy oncall.Policy, test func(*testing.T, *desk)) {
	synctestDesk(t, policy, func(t *testing.T, k *desk) {
		k.start()
		test(t, k)
		k.halt()
	})
}

// synctestDesk leaves starting and ending to the test.
func synctestDesk(t *testing.T, policy oncall.Policy, test func(*testing.T, *desk)) {
	synctest.Test(t, func(t *testing.T) { test(t, newDesk(t, policy)) })
}

func newDesk(t *testing.T, policy oncall.Policy) *desk {
	return &desk{t: t, store: newDispatchFake(t), far: &farEnd{began: time.Now(), block: map[oncall.Endpoint]chan struct{}{}}, policy: policy, began: time.Now()}
}

func (k *desk) start() {
	k.t.Helper()
	k.silences = notifier.NewSilences(notifier.SilencesOptions{Store: k.store, Changed: func() {
		if k.d != nil {
			k.d.Wake()
		}
	}, NewID: func() string { k.nextID++; return fmt.Sprintf("silence-%d", k.nextID) }})
	o := k.options
	o.Store, o.Silences = k.store, k.silences
	k.d = notifier.NewDispatcher(o)
	k.d.Apply(k.policy, k.far)
	ctx, cancel := context.WithCancel(k.t.Context())
	k.stop, k.ended = cancel, make(chan error, 1)
	alive := k.alive
	go func() { k.ended <- k.d.Run(ctx, oncall.Lease{}, alive) }()
	synctest.Wait()
}

func (k *desk) halt() {
	k.t.Helper()
	k.stop()
	if err := <-k.ended; err != nil && !errors.Is(err, oncall.ErrLeaseLost) {
		k.t.Error(err)
	}
	k.alive = time.Now()
}

func (k *desk) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// until lets time go by up to an instant after the beginning.
func (k *desk) until(d time.Duration) { k.pass(time.Until(k.began.Add(d))) }

func named(name string, more ...string) labels.Labels {
	return labels.FromStrings(append([]string{"alertname", name}, more...)...)
}

// post posts alerts that fire until they are posted again, for an hour.
func (k *desk) post(alerts ...labels.Labels) {
	k.postFor(time.Hour, alerts...)
}

func (k *desk) postFor(d time.Duration, alerts ...labels.Labels) {
	now := time.Now()
	r := oncall.Received{At: now}
	for _, ls := range alerts {
		r.Posted = append(r.Posted, oncall.PostedAlert{Labels: ls, StartsAt: now, EndsAt: now.Add(d)})
	}
	k.receive(r)
}

func (k *desk) resolve(alerts ...labels.Labels) { k.postFor(0, alerts...) }

func (k *desk) receive(r oncall.Received) {
	k.store.append(r)
	k.d.Wake()
	synctest.Wait()
}

func (k *desk) silence(d time.Duration, name string) string {
	k.t.Helper()
	id, _, err := k.silences.Set(k.t.Context(), oncall.Silence{
		Matchers: matching("alertname", name), StartsAt: time.Now(), EndsAt: time.Now().Add(d), CreatedBy: "ana", Comment: "deploy",
	})
	if err != nil {
		k.t.Fatal(err)
	}
	synctest.Wait()
	return id
}

func (k *desk) want(lines ...string) {
	k.t.Helper()
	got := k.far.lines()
	if !slices.Equal(got, lines) {
		k.t.Errorf("at %s got\n  %s\nwant\n  %s", time.Since(k.began), strings.Join(got, "\n  "), strings.Join(lines, "\n  "))
	}
}

// told are the changes for incidents since they were last asked for.
func (k *desk) told() []string {
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	var lines []string
	for _, c := range k.store.changes {
		k.last = c
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", c.Source, c.Status, c.Labels.Get("alertname"), c.Escalation)))
	}
	k.store.changes = nil
	return lines
}

func (k *desk) lastWhy() string { return k.last.Why }

func (k *desk) lastChange() oncall.AlertChange { return k.last }

func (k *desk) wantTold(lines ...string) {
	k.t.Helper()
	if got := k.told(); !slices.Equal(got, lines) {
		k.t.Errorf("at %s the incidents were told\n  %s\nwant\n  %s", time.Since(k.began), strings.Join(got, "\n  "), strings.Join(lines, "\n  "))
	}
}

// routed is a policy with one route to one receiver, with an integration that sends resolved ones.
func routed(change ...func(*oncall.Policy)) oncall.Policy {
	root := &oncall.Route{
		ID: "{}", Key: "{}", Receiver: "team", GroupWait: 30 * time.Second, GroupInterval: 5 * time.Minute, RepeatInterval: 4 * time.Hour,
	}
	p := oncall.Policy{
		Routing: oncall.Routing{Root: root},
		Receivers: map[string]oncall.Receiver{"team": {Name: "team", Integrations: []oncall.Integration{
			{Endpoint: oncall.IntegrationEndpoint("webhook_configs", "team", 0), SendResolved: true},
		}}},
	}
	for _, c := range change {
		c(&p)
	}
	return p
}

func matching(label, value string) amlabels.Matchers {
	m, err := amlabels.NewMatcher(amlabels.MatchEqual, label, value)
	if err != nil {
		panic(err)
	}
	return amlabels.Matchers{m}
}
