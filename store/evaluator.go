package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"tocsin/oncall"
)

// CommitEvaluation commits what one evaluation decided, whole or not at all. Its changes go to the end of the
// log of what was received. An empty one costs nothing.
func (s *Store) CommitEvaluation(ctx context.Context, w oncall.Write, e oncall.Evaluation) error {
	if e.Empty() {
		return nil
	}
	log := packChanges(w.Now, e.Changes)
	_, err := do(ctx, s, w, func(t *tx) (struct{}, error) {
		for _, a := range e.Upserts {
			if err := t.putAlert(a); err != nil {
				return struct{}{}, err
			}
		}
		for _, k := range e.Deletes {
			if err := t.exec1("delete from alerts where rule = $1 and fingerprint = $2", indexed(string(k.Rule)), string(k.Fingerprint)); err != nil {
				return struct{}{}, err
			}
		}
		if err := t.appendTransitions(e.Transitions); err != nil {
			return struct{}{}, err
		}
		if err := t.appendReceived(w.Now, log); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, t.putHealth(e.Health)
	})
	return err
}

func (t *tx) putAlert(a oncall.Alert) error {
	doc, err := encode(a)
	if err != nil {
		return err
	}
	return t.exec1(`insert into alerts (rule, fingerprint, state, value, doc) values ($1, $2, $3, $4, $5)
		on conflict (rule, fingerprint) do update set state = excluded.state, value = excluded.value, doc = excluded.doc`,
		indexed(string(a.Rule)), string(oncall.FingerprintOf(a.Labels)), string(a.State), encodeFloat(a.Value), doc)
}

func (t *tx) appendTransitions(ts []oncall.Transition) error {
	if len(ts) == 0 {
		return nil
	}
	seq, err := t.take("record", len(ts))
	if err != nil {
		return err
	}
	b := t.insert("alert_transitions", "seq", "rule", "fingerprint", "at", "doc")
	for i, x := range ts {
		if x.Fingerprint == "" {
			x.Fingerprint = oncall.FingerprintOf(x.Labels)
		}
		doc, err := encode(x)
		if err != nil {
			return err
		}
		if err := b.add(seq+int64(i), indexed(string(x.Rule)), string(x.Fingerprint), micros(x.At), doc); err != nil {
			return err
		}
	}
	return b.flush()
}

// appendChanges hands changes over to the incidents, in order.
func (t *tx) appendChanges(cs []oncall.AlertChange) error {
	if len(cs) == 0 {
		return nil
	}
	seq, err := t.take("record", len(cs))
	if err != nil {
		return err
	}
	return t.putChanges(seq, cs)
}

// putChanges queues changes under the numbers from seq on.
func (t *tx) putChanges(seq int64, cs []oncall.AlertChange) error {
	t.mine.AlertChanges = true
	b := t.insert("alert_changes", "seq", "doc")
	for i, c := range cs {
		doc, err := encode(c)
		if err != nil {
			return err
		}
		if err := b.add(seq+int64(i), doc); err != nil {
			return err
		}
	}
	return b.flush()
}

func (t *tx) putHealth(hs []oncall.RuleHealth) error {
	for _, h := range hs {
		rule := indexed(string(h.Rule))
		if h.FailingSince.IsZero() {
			if err := t.exec1("delete from rule_health where rule = $1", rule); err != nil {
				return err
			}
			continue
		}
		doc, err := encode(h)
		if err != nil {
			return err
		}
		if err := t.exec1("insert into rule_health (rule, doc) values ($1, $2) on conflict (rule) do update set doc = excluded.doc", rule, doc); err != nil {
			return err
		}
	}
	return nil
}

// LoadEvaluator returns all alerts and rule health as committed. AliveAt is when a process last held any
// shard before its present holder.
func (s *Store) LoadEvaluator(ctx context.Context) (oncall.EvaluatorState, error) {
	var st oncall.EvaluatorState
	err := s.view(ctx, func(q queryer) error {
		st = oncall.EvaluatorState{}
		if err := each(q, "select value, doc from alerts order by rule, fingerprint", nil, func(r *sql.Rows) error {
			var value, doc string
			if err := r.Scan(&value, &doc); err != nil {
				return err
			}
			var a oncall.Alert
			if err := decode(doc, &a); err != nil {
				return err
			}
			a.Value = decodeFloat(value)
			st.Alerts = append(st.Alerts, a)
			return nil
		}); err != nil {
			return err
		}
		if err := each(q, "select doc from rule_health order by rule", nil, func(r *sql.Rows) error {
			h, err := scanDoc[oncall.RuleHealth](r)
			st.Health = append(st.Health, h)
			return err
		}); err != nil {
			return err
		}
		var alive int64
		_, err := one(q, "select coalesce(max(before_at), 0) from leases", nil, &alive)
		st.AliveAt = fromMicros(alive)
		return err
	})
	if err != nil {
		return oncall.EvaluatorState{}, err
	}
	return st, nil
}

// scanDoc scans a row whose only column is a document.
func scanDoc[T any](r *sql.Rows) (v T, err error) {
	var doc string
	if err := r.Scan(&doc); err != nil {
		return v, err
	}
	return v, decode(doc, &v)
}

// Transitions returns the steps of the given alerts (of any rule) from from (included, zero: the
// beginning) until to (not included, zero: no end), in order of time. Where there are more than limit
// (0: 100), it returns the latest.
func (s *Store) Transitions(ctx context.Context, alerts []oncall.Fingerprint, from, to time.Time, limit int) ([]oncall.Transition, error) {
	if len(alerts) == 0 {
		return nil, nil
	}
	if limit <= 0 {
		limit = 100
	}
	end := micros(to)
	if end == 0 {
		end = math.MaxInt64
	}
	args := []any{micros(from), end, limit}
	for _, fp := range alerts {
		args = append(args, string(fp))
	}
	query := fmt.Sprintf(`select doc from (
			select at, seq, doc from alert_transitions
			where fingerprint in (%s) and at >= $1 and at < $2
			order by at desc, seq desc limit $3) latest
		order by at, seq`, holders(4, len(alerts)))
	var ts []oncall.Transition
	err := s.view(ctx, func(q queryer) error {
		ts = nil
		return each(q, query, args, func(r *sql.Rows) error {
			x, err := scanDoc[oncall.Transition](r)
			ts = append(ts, x)
			return err
		})
	})
	return ts, err
}
