package store

import (
	"context"
	"database/sql"
	"time"

	"tocsin/oncall"
)

// Overrides returns all overrides that are kept, by when they were made, and a version that grows with every
// change of one.
func (s *Store) Overrides(ctx context.Context) (all []oncall.Override, version int64, err error) {
	err = s.view(ctx, func(q queryer) error {
		all = nil
		if err := each(q, "select doc from overrides order by from_at, id", nil, func(r *sql.Rows) error {
			o, err := scanDoc[oncall.Override](r)
			all = append(all, o)
			return err
		}); err != nil {
			return err
		}
		version, err = counter(q, "overrides_version")
		return err
	})
	return all, version, err
}

// OverridesVersion returns the version that Overrides returns: the cheap question whether to read them again.
func (s *Store) OverridesVersion(ctx context.Context) (version int64, err error) {
	err = s.view(ctx, func(q queryer) error {
		version, err = counter(q, "overrides_version")
		return err
	})
	return version, err
}

// AddOverrides adds overrides, all or none. It returns oncall's conflict where an ID is taken, and ErrRequestSeen
// for a request that was committed before.
func (s *Store) AddOverrides(ctx context.Context, w oncall.Write, added []oncall.Override) error {
	_, err := do(ctx, s, w, func(t *tx) (struct{}, error) {
		for _, o := range added {
			if o.ID == "" {
				return struct{}{}, oncall.Errorf(oncall.CodeInternal, "an override without an ID was to be kept")
			}
			doc, err := encode(o)
			if err != nil {
				return struct{}{}, err
			}
			n, err := t.exec("insert into overrides (id, schedule, from_at, to_at, doc) values ($1, $2, $3, $4, $5) on conflict (id) do nothing",
				o.ID, o.Schedule, micros(o.From), micros(o.To), doc)
			if err != nil {
				return struct{}{}, err
			}
			if n == 0 {
				return struct{}{}, oncall.Errorf(oncall.CodeConflict, "there is an override %s already", o.ID)
			}
		}
		return struct{}{}, t.overridesChanged()
	})
	return err
}

// EndOverride loads the override with the ID, calls end, and commits what it returns, which EndOverride returns too.
// end is pure and may run again. Codes: not_found, and those of end.
func (s *Store) EndOverride(ctx context.Context, w oncall.Write, id string,
	end func(oncall.Override) (oncall.Override, error)) (oncall.Override, error) {
	return do(ctx, s, w, func(t *tx) (oncall.Override, error) {
		var doc string
		var o oncall.Override
		found, err := one(t, "select doc from overrides where id = $1"+t.d.forUpdate, []any{id}, &doc)
		if err != nil {
			return o, err
		}
		if !found {
			return o, oncall.OverrideNotFound(id)
		}
		if err := decode(doc, &o); err != nil {
			return o, err
		}
		if o, err = end(o); err != nil {
			return o, err
		}
		if doc, err = encode(o); err != nil {
			return o, err
		}
		if err := t.exec1("update overrides set from_at = $2, to_at = $3, doc = $4 where id = $1", id, micros(o.From), micros(o.To), doc); err != nil {
			return o, err
		}
		return o, t.overridesChanged()
	})
}

// overridesChanged tells everybody who keeps overrides in memory.
func (t *tx) overridesChanged() error {
	t.mine.Overrides = true
	_, err := t.take("overrides_version", 1)
	return err
}

// forgetOverrides deletes what ended before an instant.
func (s *Store) forgetOverrides(ctx context.Context, before time.Time) error {
	_, err := do(ctx, s, oncall.Write{}, func(t *tx) (struct{}, error) {
		n, err := t.exec("delete from overrides where to_at < $1", micros(before))
		if err != nil || n == 0 {
			return struct{}{}, err
		}
		return struct{}{}, t.overridesChanged()
	})
	return err
}

// Handoffs returns the latest handoff of each schedule.
func (s *Store) Handoffs(ctx context.Context) (all []oncall.Handoff, err error) {
	err = s.view(ctx, func(q queryer) error {
		all = nil
		return each(q, "select doc from handoffs order by schedule", nil, func(r *sql.Rows) error {
			h, err := scanDoc[oncall.Handoff](r)
			all = append(all, h)
			return err
		})
	})
	return all, err
}

// CommitHandoffs writes the latest handoffs of their schedules, in place of those before.
func (s *Store) CommitHandoffs(ctx context.Context, w oncall.Write, all []oncall.Handoff) error {
	_, err := do(ctx, s, w, func(t *tx) (struct{}, error) {
		for _, h := range all {
			doc, err := encode(h)
			if err != nil {
				return struct{}{}, err
			}
			if err := t.exec1("insert into handoffs (schedule, doc) values ($1, $2) on conflict (schedule) do update set doc = excluded.doc",
				indexed(h.Schedule), doc); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return err
}
