package storetest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tocsin/oncall"
	"tocsin/store"
)

// dispatchWorld is a random walk over what the dispatcher does, beside a model of what must be in the store.
type dispatchWorld struct {
	*env
	log      []string // names of the alerts of each row ever received
	handed   int      // changes that wait for the incidents
	cursor   int64
	trimmed  int64
	alerts   map[uint64]*oncall.ActiveAlert
	groups   map[string]oncall.GroupRecord
	open     map[string]oncall.GroupDelivery // unfinished, by key
	finished map[string]oncall.DeliveryState
	silences map[string]oncall.Silence
	version  int64
	steps    int
	asked    int
}

func testDispatchProperty(t *testing.T, fresh func(testing.TB) Database) {
	rapid.Check(t, func(r *rapid.T) {
		e := &env{t: t, db: fresh(t), now: start}
		e.s = e.db.Open(t, store.Options{})
		defer func() { e.s.Close() }() //nolint:errcheck // the next run has a database of its own
		e.acquire()
		w := &dispatchWorld{env: e, alerts: map[uint64]*oncall.ActiveAlert{}, groups: map[string]oncall.GroupRecord{},
			open: map[string]oncall.GroupDelivery{}, finished: map[string]oncall.DeliveryState{}, silences: map[string]oncall.Silence{}}
		r.Repeat(map[string]func(*rapid.T){
			"": func(r *rapid.T) { // all that is asked costs as much as several steps
				if w.asked++; w.asked%3 == 0 {
					w.check(r)
				}
			},
			"receive":   w.post,
			"dispatch":  w.commit,
			"fail":      w.fail,
			"silence":   w.mute,
			"consume":   w.consume,
			"reopen":    func(*rapid.T) { w.reopen(store.Options{}) },
			"take over": func(*rapid.T) { w.acquire() },
		})
		w.check(r)
	})
}

func (w *dispatchWorld) post(r *rapid.T) {
	var names []string
	row := ""
	for range rapid.IntRange(1, 3).Draw(r, "alerts") {
		w.steps++
		names = append(names, fmt.Sprint("A", w.steps))
		row += " " + names[len(names)-1]
	}
	w.receive(names...)
	w.log = append(w.log, row)
}

// commit commits a random dispatch, sometimes twice.
func (w *dispatchWorld) commit(r *rapid.T) {
	d := w.draw(r)
	w.dispatch(d)
	w.handed += len(d.Changes)
	if rapid.Bool().Draw(r, "again") {
		w.dispatch(d)
		w.handed += len(d.Changes)
	}
	w.expect(d)
}

func (w *dispatchWorld) draw(r *rapid.T) oncall.Dispatch {
	w.steps++
	d := oncall.Dispatch{Cursor: rapid.Int64Range(w.cursor, int64(len(w.log))).Draw(r, "cursor")}
	d.Trim = rapid.Int64Range(0, d.Cursor).Draw(r, "trim")
	for range rapid.IntRange(0, 2).Draw(r, "changes") {
		d.Changes = append(d.Changes, change(oncall.ChangeFiring, "x", "A", "by a route"))
	}
	for range rapid.IntRange(0, 3).Draw(r, "parts") {
		name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(r, "name")
		switch rapid.IntRange(0, 5).Draw(r, "part") {
		case 0:
			d.Groups = append(d.Groups, group(name, start.Add(time.Duration(w.steps)*time.Second)))
		case 1:
			d.GroupsGone = append(d.GroupsGone, name)
		case 2:
			d.Alerts = append(d.Alerts, active(name, int64(w.steps)))
		case 3:
			d.AlertsGone = append(d.AlertsGone, active(name, 0).Fingerprint)
		case 4:
			d.Deliveries = append(d.Deliveries, notification(fmt.Sprint(name, w.steps/3), "team", name))
		case 5:
			if len(w.open) > 0 {
				one := rapid.SampledFrom(slices.SortedFunc(maps.Values(w.open), func(a, b oncall.GroupDelivery) int { return cmp.Compare(a.Key, b.Key) })).Draw(r, "delivery")
				state := rapid.SampledFrom([]oncall.DeliveryState{oncall.DeliveryQueued, oncall.DeliveryDelivered, oncall.DeliveryDropped}).Draw(r, "state")
				one.Attempts++
				d.Results = append(d.Results, finished(one, state, w.now))
			}
		}
	}
	return d
}

// expect is the model.
func (w *dispatchWorld) expect(d oncall.Dispatch) {
	w.cursor = max(w.cursor, d.Cursor)
	w.trimmed = max(w.trimmed, d.Trim)
	for _, k := range d.GroupsGone {
		delete(w.groups, k)
	}
	for _, g := range d.Groups {
		w.groups[g.Key] = g
	}
	for _, fp := range d.AlertsGone {
		delete(w.alerts, fp)
	}
	for _, a := range d.Alerts {
		w.alerts[a.Fingerprint] = a
	}
	for _, n := range d.Deliveries {
		if _, done := w.finished[n.Key]; !done {
			if _, there := w.open[n.Key]; !there {
				w.open[n.Key] = n
			}
		}
	}
	for _, x := range latestOf(d.Results) {
		was, there := w.open[x.Key]
		switch {
		case there && x.State.Final():
			delete(w.open, x.Key)
			w.finished[x.Key] = x.State
		case there:
			x.Alerts, x.Notice = was.Alerts, was.Notice
			w.open[x.Key] = x
		}
	}
}

func latestOf(ds []oncall.GroupDelivery) map[string]oncall.GroupDelivery {
	last := map[string]oncall.GroupDelivery{}
	for _, d := range ds {
		last[d.Key] = d
	}
	return last
}

// fail commits what cannot be committed; the invariants say that nothing of it is there.
func (w *dispatchWorld) fail(r *rapid.T) {
	d := w.draw(r)
	write := w.write()
	lost := w.lease
	switch rapid.IntRange(0, 2).Draw(r, "how") {
	case 0:
		d.Trim = int64(len(w.log)) + 1
		d.Cursor = 0
	case 1:
		d.Deliveries = append(d.Deliveries, oncall.GroupDelivery{Key: "never", State: "never"})
	case 2:
		d.Deliveries = append(d.Deliveries, notification("never", "team", "never"))
		write.Lease = &lost
		w.acquire()
	}
	if err := w.s.CommitDispatch(w.ctx(), write, d); err == nil {
		r.Fatal("the impossible was committed")
	}
}

func (w *dispatchWorld) mute(r *rapid.T) {
	id := rapid.SampledFrom([]string{"s", "t"}).Draw(r, "silence")
	w.steps++
	x := silenceOf(id, start.Add(time.Duration(w.steps)*time.Second))
	_, err := w.s.UpdateSilence(w.ctx(), oncall.Write{Now: w.now}, id, func(had oncall.Silence, found bool) ([]oncall.Silence, error) {
		if want, ok := w.silences[id]; ok != found || ok && !had.EndsAt.Equal(want.EndsAt) {
			r.Fatalf("loaded %v, want %v", had, want)
		}
		return []oncall.Silence{x}, nil
	})
	w.must(err)
	w.silences[id] = x
	v := w.env.version()
	if v <= w.version {
		r.Fatalf("the version went from %d to %d", w.version, v)
	}
	w.version = v
}

// consume has the incidents take the changes.
func (w *dispatchWorld) consume(r *rapid.T) {
	if n := w.apply(1000); n != w.handed {
		r.Fatalf("%d changes were handed over, want %d", n, w.handed)
	}
	w.handed = 0
}

// check holds the store against the model.
func (w *dispatchWorld) check(r *rapid.T) {
	want := oncall.DispatchState{Cursor: w.cursor, Trimmed: w.trimmed}
	want.Alerts = slices.Collect(maps.Values(w.alerts))
	want.Groups = slices.Collect(maps.Values(w.groups))
	want.Deliveries = slices.Collect(maps.Values(w.open))
	got := w.dispatchState()
	for i := range got.Deliveries {
		if i > 0 && got.Deliveries[i].Seq <= got.Deliveries[i-1].Seq {
			r.Fatal("notifications out of order")
		}
	}
	for i := range got.Deliveries {
		got.Deliveries[i].Seq = 0
	}
	for i := range want.Deliveries {
		want.Deliveries[i].Seq = 0
	}
	equal(w.t, sorted(got), sorted(want))
	w.checkLog(r)
	all, err := w.s.GroupDeliveries(w.ctx(), oncall.GroupDeliveryFilter{Limit: 1000})
	w.must(err)
	if len(all) != len(w.open)+len(w.finished) {
		r.Fatalf("%d notifications are listed, want %d and %d", len(all), len(w.open), len(w.finished))
	}
	for _, d := range all {
		if state, done := w.finished[d.Key]; done && state != d.State {
			r.Fatalf("%s is %s, want %s", d.Key, d.State, state)
		}
	}
}

// checkLog reads the log as the dispatcher does: nothing after what is trimmed may be missing.
func (w *dispatchWorld) checkLog(r *rapid.T) {
	rs, err := w.s.ReceivedAfter(w.ctx(), w.trimmed, 1000)
	w.must(err)
	if len(rs) != len(w.log)-int(w.trimmed) {
		r.Fatalf("%d rows after %d, of %d", len(rs), w.trimmed, len(w.log))
	}
	for i, x := range rs {
		row := ""
		for _, p := range x.Posted {
			row += " " + p.Labels.Get("alertname")
		}
		if n := w.trimmed + int64(i); x.Seq != n+1 || row != w.log[n] {
			r.Fatalf("row %d holds%s, want row %d with%s", x.Seq, row, n+1, w.log[n])
		}
	}
}

// sorted brings into order what has none.
func sorted(st oncall.DispatchState) oncall.DispatchState {
	st.Alerts, st.Groups, st.Deliveries = slices.Clone(st.Alerts), slices.Clone(st.Groups), slices.Clone(st.Deliveries)
	slices.SortFunc(st.Alerts, func(a, b *oncall.ActiveAlert) int { return cmp.Compare(a.Fingerprint, b.Fingerprint) })
	slices.SortFunc(st.Groups, func(a, b oncall.GroupRecord) int { return cmp.Compare(a.Key, b.Key) })
	slices.SortFunc(st.Deliveries, func(a, b oncall.GroupDelivery) int { return cmp.Compare(a.Key, b.Key) })
	return st
}
