package store

import (
	"context"
	"database/sql"
	"fmt"

	"tocsin/oncall"
)

// CommitDispatch commits what the dispatcher decided, whole or not at all. Committing the same again changes
// nothing but that Changes are handed to the incidents once more. The log before d.Trim is deleted later, a
// few rows at a time.
func (s *Store) CommitDispatch(ctx context.Context, w oncall.Write, d oncall.Dispatch) error {
	if d.Size() == 0 && d.Cursor == 0 && d.Trim == 0 {
		return nil
	}
	x, err := writeDown(d)
	if err != nil {
		return err
	}
	if _, err = do(ctx, s, w, func(t *tx) (struct{}, error) { return struct{}{}, t.dispatch(x) }); err != nil {
		return err
	}
	if d.Trim > 0 {
		s.sweeper.poke()
	}
	return nil
}

// dispatchRows is a Dispatch as rows, made before the writer's turn because there is only one writer.
type dispatchRows struct {
	cursor, trim int64
	changes      []oncall.AlertChange
	groups       [][]any
	groupsGone   []string
	deliveries   [][]any
	results      [][]any
	silences     []oncall.Silence
	alerts       [][]any
	alertsGone   []int64
}

func writeDown(d oncall.Dispatch) (x dispatchRows, err error) {
	x = dispatchRows{cursor: d.Cursor, trim: d.Trim, changes: d.Changes, silences: d.Silences}
	// One statement must not write a row twice: the last one counts.
	for _, g := range latest(d.Groups, func(g *oncall.GroupRecord) string { return g.Key }) {
		doc, err := encode(g)
		if err != nil {
			return x, err
		}
		x.groups = append(x.groups, []any{hash(g.Key), doc})
	}
	for _, k := range d.GroupsGone {
		x.groupsGone = append(x.groupsGone, hash(k))
	}
	for _, g := range d.Deliveries {
		row, err := groupDeliveryRow(g)
		if err != nil {
			return x, err
		}
		x.deliveries = append(x.deliveries, row)
	}
	for _, g := range latest(d.Results, func(g *oncall.GroupDelivery) string { return g.Key }) {
		x.results = append(x.results, groupResultRow(g))
	}
	for _, a := range latest(d.Alerts, func(a **oncall.ActiveAlert) uint64 { return (*a).Fingerprint }) {
		x.alerts = append(x.alerts, []any{int64(a.Fingerprint), oncall.PackAlert(a)}) //nolint:gosec // the bits are kept
	}
	for _, fp := range d.AlertsGone {
		x.alertsGone = append(x.alertsGone, int64(fp)) //nolint:gosec // the bits are kept
	}
	return x, nil
}

// latest returns the elements without those that a later one of the same key replaces.
func latest[T any, K comparable](all []T, key func(*T) K) []T {
	last := make(map[K]int, len(all))
	for i := range all {
		last[key(&all[i])] = i
	}
	if len(last) == len(all) {
		return all
	}
	kept := make([]T, 0, len(last))
	for i := range all {
		if last[key(&all[i])] == i {
			kept = append(kept, all[i])
		}
	}
	return kept
}

// dispatch writes the rows. What goes is deleted first, so that what came back at once stays.
func (t *tx) dispatch(x dispatchRows) error {
	if err := t.advance("dispatched", x.cursor); err != nil {
		return err
	}
	if err := t.appendChanges(x.changes); err != nil {
		return err
	}
	if err := deleteRows(t, "route_groups", "key", x.groupsGone); err != nil {
		return err
	}
	if err := t.putRows("route_groups", []string{"key", "doc"}, " on conflict (key) do update set doc = excluded.doc", x.groups); err != nil {
		return err
	}
	if err := t.addGroupDeliveries(x.deliveries); err != nil {
		return err
	}
	if err := t.putGroupResults(x.results); err != nil {
		return err
	}
	if err := t.noteSilences(x.silences); err != nil {
		return err
	}
	if err := deleteRows(t, "active_alerts", "fingerprint", x.alertsGone); err != nil {
		return err
	}
	if err := t.putRows("active_alerts", []string{"fingerprint", "body"}, " on conflict (fingerprint) do update set body = excluded.body", x.alerts); err != nil {
		return err
	}
	return t.trim(x.trim)
}

func (t *tx) putRows(table string, columns []string, tail string, rows [][]any) error {
	b := t.insert(table, columns...)
	b.tail = tail
	for _, r := range rows {
		if err := b.add(r...); err != nil {
			return err
		}
	}
	return b.flush()
}

// trim notes up to where the log is not needed any more.
func (t *tx) trim(through int64) error {
	if through == 0 {
		return nil
	}
	cursor, err := counter(t, "dispatched")
	if err != nil {
		return err
	}
	if through > cursor {
		return oncall.Errorf(oncall.CodeInternal, "the log was to be forgotten up to %d, but what follows from it is committed up to %d", through, cursor)
	}
	return t.advance("trimmed", through)
}

// advance raises a counter to n, and leaves it where it is beyond.
func (t *tx) advance(name string, n int64) error {
	if n == 0 {
		return nil
	}
	return t.exec1("update counters set value = $1 where name = $2 and value < $1", n, name)
}

// counter returns the value of a counter.
func counter(q queryer, name string) (n int64, err error) {
	found, err := one(q, "select value from counters where name = $1", []any{name}, &n)
	if err == nil && !found {
		err = fmt.Errorf("the counter %q is missing from the database", name)
	}
	return n, err
}

// LoadDispatch returns what the dispatcher keeps in memory, as committed.
func (s *Store) LoadDispatch(ctx context.Context) (oncall.DispatchState, error) {
	var st oncall.DispatchState
	err := s.view(ctx, func(q queryer) (err error) {
		if st.Cursor, err = counter(q, "dispatched"); err != nil {
			return err
		}
		if st.Trimmed, err = counter(q, "trimmed"); err != nil {
			return err
		}
		if err := each(q, "select body from active_alerts", nil, func(r *sql.Rows) error {
			var body sql.RawBytes
			if err := r.Scan(&body); err != nil {
				return err
			}
			a, err := oncall.UnpackAlert(body)
			if err != nil {
				return oncall.Errorf(oncall.CodeInternal, "an active alert in the database cannot be read: %v", err)
			}
			st.Alerts = append(st.Alerts, a)
			return nil
		}); err != nil {
			return err
		}
		if err := each(q, "select doc from route_groups order by key", nil, func(r *sql.Rows) error {
			g, err := scanDoc[oncall.GroupRecord](r)
			st.Groups = append(st.Groups, g)
			return err
		}); err != nil {
			return err
		}
		st.Deliveries, err = unfinishedGroupDeliveries(q)
		return err
	})
	if err != nil {
		return oncall.DispatchState{}, err
	}
	s.sweeper.poke() // what an earlier process left
	return st, nil
}
