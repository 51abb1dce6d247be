package store

import (
	"context"
	"database/sql"

	"tocsin/oncall"
)

// Beat notes that a heartbeat was heard at w.Now. After nil it is on disk. It needs no lease: any replica may hear it.
func (s *Store) Beat(ctx context.Context, w oncall.Write, name string) error {
	_, err := do(ctx, s, w, func(t *tx) (struct{}, error) {
		t.mine.Heartbeats = true
		return struct{}{}, t.exec1(`insert into heartbeats (name, beat_at, doc) values ($1, $2, '{}')
			on conflict (name) do update set beat_at = case when heartbeats.beat_at < excluded.beat_at then excluded.beat_at else heartbeats.beat_at end`,
			name, micros(w.Now))
	})
	return err
}

// Heartbeats returns what is on record of all heartbeats, by name.
func (s *Store) Heartbeats(ctx context.Context) (all []oncall.HeartbeatState, err error) {
	err = s.view(ctx, func(q queryer) error {
		all, err = heartbeats(q, "")
		return err
	})
	return all, err
}

func heartbeats(q queryer, lock string) ([]oncall.HeartbeatState, error) {
	var all []oncall.HeartbeatState
	err := each(q, "select name, beat_at, doc from heartbeats order by name"+lock, nil, func(r *sql.Rows) error {
		var name, doc string
		var at int64
		if err := r.Scan(&name, &at, &doc); err != nil {
			return err
		}
		st := oncall.HeartbeatState{}
		if err := decode(doc, &st); err != nil {
			return err
		}
		st.Name, st.LastAt = name, fromMicros(at)
		all = append(all, st)
		return nil
	})
	return all, err
}

// UpdateHeartbeats loads all heartbeats so that no beat comes in between, has decide say what follows, and commits
// that: the records, and the changes at the end of the log of what was received. decide is pure and may run again.
func (s *Store) UpdateHeartbeats(ctx context.Context, w oncall.Write,
	decide func([]oncall.HeartbeatState) oncall.HeartbeatDecision) (oncall.HeartbeatDecision, error) {
	return do(ctx, s, w, func(t *tx) (oncall.HeartbeatDecision, error) {
		all, err := heartbeats(t, t.d.forUpdate)
		if err != nil {
			return oncall.HeartbeatDecision{}, err
		}
		d := decide(all)
		for _, st := range d.Put {
			doc, err := encode(st)
			if err != nil {
				return d, err
			}
			if err := t.exec1(`insert into heartbeats (name, beat_at, doc) values ($1, 0, $2)
				on conflict (name) do update set doc = excluded.doc`, st.Name, doc); err != nil {
				return d, err
			}
		}
		for _, name := range d.Gone {
			if err := t.exec1("delete from heartbeats where name = $1", name); err != nil {
				return d, err
			}
		}
		return d, t.appendReceived(w.Now, packChanges(w.Now, d.Changes))
	})
}
