package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// groupDoc is what never changes of a notification of a group, but for its columns.
type groupDoc struct {
	GroupKey    string        `json:"group_key"`
	Route       string        `json:"route"`
	GroupLabels labels.Labels `json:"group_labels"`
	Reason      string        `json:"reason"`
	Firing      int           `json:"firing"`
	Resolved    int           `json:"resolved"`
}

// groupColumns are in the order of groupDeliveryRow, after which the number comes.
var groupColumns = []string{"key", "endpoint", "receiver", "group_hash", "state", "attempts", "created_at", "next_at", "first_attempt_at",
	"done_at", "status", "error", "excerpt", "doc", "notice", "alerts", "seq"}

// groupDeliveryRow is a new delivery as a row without its number.
func groupDeliveryRow(d oncall.GroupDelivery) ([]any, error) {
	doc, err := encode(groupDoc{d.GroupKey, d.Route, d.GroupLabels, d.Reason, d.Firing, d.Resolved})
	if err != nil {
		return nil, err
	}
	var notice, alerts any
	if !d.State.Final() {
		alerts = oncall.PackGroupAlerts(d.Alerts)
		if notice, err = encode(d.Notice); err != nil {
			return nil, err
		}
	}
	next, done := groupTimes(d)
	return []any{d.Key, string(d.Endpoint), d.Receiver, hash(d.GroupKey), string(d.State), d.Attempts, micros(d.CreatedAt), next,
		micros(d.FirstAttemptAt), done, d.Status, d.Error, d.Excerpt, doc, notice, alerts}, nil
}

// groupTimes returns when a delivery may be sent again, and when it was finished.
func groupTimes(d oncall.GroupDelivery) (next, done int64) {
	if !d.State.Final() {
		return micros(d.NextAt), 0
	}
	return 0, max(micros(d.DoneAt), 1)
}

// addGroupDeliveries adds new deliveries, in order. One whose key exists is there already.
func (t *tx) addGroupDeliveries(rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	seq, err := t.take("group_delivery", len(rows))
	if err != nil {
		return err
	}
	b := t.insert("group_deliveries", groupColumns...)
	b.tail = " on conflict (key) do nothing"
	for i, r := range rows {
		if err := b.add(append(r[:len(r):len(r)], seq+int64(i))...); err != nil {
			return err
		}
	}
	return b.flush()
}

// groupResultRow is what changes of a delivery, in the order of resultColumns.
func groupResultRow(d oncall.GroupDelivery) []any {
	next, done := groupTimes(d)
	return []any{d.Key, string(d.State), d.Attempts, next, micros(d.FirstAttemptAt), done, d.Status, d.Error, d.Excerpt}
}

var resultTypes = [...]string{"text", "text", "bigint", "bigint", "bigint", "bigint", "bigint", "text", "text"}

// putGroupResults writes the new state of deliveries. One that is finished stays as it is: then this is a
// commit that was made before.
func (t *tx) putGroupResults(rows [][]any) error {
	for _, n := range insertRows {
		for len(rows) >= n {
			var args []any
			for _, r := range rows[:n] {
				args = append(args, r...)
			}
			wrote, err := t.exec(t.d.resultStatement(n), args...)
			if err != nil {
				return err
			}
			if wrote < n {
				if err := t.groupDeliveriesExist(rows[:n]); err != nil {
					return err
				}
			}
			rows = rows[n:]
		}
	}
	return nil
}

func (t *tx) groupDeliveriesExist(rows [][]any) error {
	var keys []any
	for _, r := range rows {
		keys = append(keys, r[0])
	}
	var n int
	if _, err := one(t, "select count(*) from group_deliveries where key in ("+holders(1, len(keys))+")", keys, &n); err != nil {
		return err
	}
	if n != len(keys) {
		return oncall.Errorf(oncall.CodeInternal, "of %d notifications with a result, only %d are in the database", len(keys), n)
	}
	return nil
}

// resultStatement updates so many rows at once. Only like this do values have names and types of their own in
// both databases.
func (d dialect) resultStatement(rows int) string {
	var s strings.Builder
	s.WriteString(`update group_deliveries set state = v.column2, attempts = v.column3, next_at = v.column4, first_attempt_at = v.column5,
		done_at = v.column6, status = v.column7, error = v.column8, excerpt = v.column9,
		notice = case when v.column6 > 0 then null else notice end, alerts = case when v.column6 > 0 then null else alerts end
		from (values `)
	for i := range rows {
		for j, typ := range resultTypes {
			before := ", "
			if j == 0 {
				before = "), ("
			}
			if i+j == 0 {
				before = "("
			}
			fmt.Fprintf(&s, "%scast(%s as %s)", before, d.holders(1+i*len(resultTypes)+j, 1), typ)
		}
	}
	s.WriteString(`)) v where group_deliveries.key = v.column1 and group_deliveries.done_at = 0`)
	return s.String()
}

const groupSelect = `select key, seq, endpoint, receiver, state, attempts, created_at, next_at, first_attempt_at, done_at, status, error, excerpt, doc`

func scanGroupDelivery(r *sql.Rows, more ...any) (oncall.GroupDelivery, error) {
	var d oncall.GroupDelivery
	var created, next, first, done int64
	var doc string
	if err := r.Scan(append([]any{&d.Key, &d.Seq, (*string)(&d.Endpoint), &d.Receiver, (*string)(&d.State), &d.Attempts,
		&created, &next, &first, &done, &d.Status, &d.Error, &d.Excerpt, &doc}, more...)...); err != nil {
		return d, err
	}
	d.CreatedAt, d.NextAt, d.FirstAttemptAt, d.DoneAt = fromMicros(created), fromMicros(next), fromMicros(first), fromMicros(done)
	var g groupDoc
	err := decode(doc, &g)
	d.GroupKey, d.Route, d.GroupLabels, d.Reason, d.Firing, d.Resolved = g.GroupKey, g.Route, g.GroupLabels, g.Reason, g.Firing, g.Resolved
	return d, err
}

// unfinishedGroupDeliveries returns them with all that their senders need, oldest first.
func unfinishedGroupDeliveries(q queryer) ([]oncall.GroupDelivery, error) {
	var ds []oncall.GroupDelivery
	err := each(q, groupSelect+", notice, alerts from group_deliveries where done_at = 0 order by seq", nil, func(r *sql.Rows) error {
		var notice string
		var alerts []byte
		d, err := scanGroupDelivery(r, &notice, &alerts)
		if err != nil {
			return err
		}
		if err := decode(notice, &d.Notice); err != nil {
			return err
		}
		if d.Alerts, err = oncall.UnpackGroupAlerts(alerts); err != nil {
			return oncall.Errorf(oncall.CodeInternal, "the alerts of the notification %s cannot be read: %v", d.Key, err)
		}
		ds = append(ds, d)
		return nil
	})
	return ds, err
}

// GroupDeliveries lists notifications of groups, newest first, without their alerts.
func (s *Store) GroupDeliveries(ctx context.Context, f oncall.GroupDeliveryFilter) ([]oncall.GroupDelivery, error) {
	where, args := "seq < $1", []any{f.Before, f.Limit}
	if f.Before <= 0 {
		args[0] = int64(math.MaxInt64)
	}
	if f.Limit <= 0 {
		args[1] = 100
	}
	if f.Receiver != "" {
		args = append(args, f.Receiver)
		where += fmt.Sprintf(" and receiver = $%d", len(args))
	}
	if f.GroupKey != "" {
		args = append(args, hash(f.GroupKey))
		where += fmt.Sprintf(" and group_hash = $%d", len(args))
	}
	var ds []oncall.GroupDelivery
	err := s.view(ctx, func(q queryer) error {
		ds = nil
		return each(q, groupSelect+" from group_deliveries where "+where+" order by seq desc limit $2", args, func(r *sql.Rows) error {
			d, err := scanGroupDelivery(r)
			ds = append(ds, d)
			return err
		})
	})
	return ds, err
}

// forgetGroupDeliveries deletes what was finished before before, and what is not among the latest most.
func (s *Store) forgetGroupDeliveries(ctx context.Context, before time.Time, most int64) error {
	var last int64
	if err := s.view(ctx, func(q queryer) (err error) {
		last, err = counter(q, "group_delivery")
		return err
	}); err != nil {
		return err
	}
	if _, err := s.deleteAll(ctx, `delete from group_deliveries where key in (
		select key from group_deliveries where done_at > 0 and seq <= $1 order by seq limit $2)`, last-most, 5*pruneBatch); err != nil {
		return err
	}
	_, err := s.deleteAll(ctx, `delete from group_deliveries where key in (
		select key from group_deliveries where done_at > 0 and done_at < $1 order by done_at limit $2)`, micros(before), 5*pruneBatch)
	return err
}

// forgetSilences deletes those that ended before before.
func (s *Store) forgetSilences(ctx context.Context, before time.Time) error {
	_, err := do(ctx, s, oncall.Write{}, func(t *tx) (struct{}, error) {
		n, err := t.exec("delete from silences where ends_at < $1", micros(before))
		if err != nil || n == 0 {
			return struct{}{}, err
		}
		return struct{}{}, t.silencesChanged()
	})
	return err
}
