package store

import (
	"context"
	"database/sql"

	"tocsin/oncall"
)

// Silences returns all silences that are kept, by their ID, and a version that grows with every change of one.
func (s *Store) Silences(ctx context.Context) (all []oncall.Silence, version int64, err error) {
	err = s.view(ctx, func(q queryer) error {
		all = nil
		if err := each(q, "select doc from silences order by id", nil, func(r *sql.Rows) error {
			x, err := scanDoc[oncall.Silence](r)
			all = append(all, x)
			return err
		}); err != nil {
			return err
		}
		version, err = counter(q, "silences")
		return err
	})
	return all, version, err
}

// SilencesVersion returns the version that Silences returns: the cheap question whether to read them again.
func (s *Store) SilencesVersion(ctx context.Context) (version int64, err error) {
	err = s.view(ctx, func(q queryer) error {
		version, err = counter(q, "silences")
		return err
	})
	return version, err
}

// UpdateSilence loads the silence with the ID (found false: there is none), calls decide, and commits the
// silences that it returns, which it returns too. decide is pure and may run again.
func (s *Store) UpdateSilence(ctx context.Context, w oncall.Write, id string,
	decide func(x oncall.Silence, found bool) ([]oncall.Silence, error)) ([]oncall.Silence, error) {
	return do(ctx, s, w, func(t *tx) ([]oncall.Silence, error) {
		x, found, err := t.silence(id)
		if err != nil {
			return nil, err
		}
		next, err := decide(x, found)
		if err != nil {
			return nil, err
		}
		return next, t.putSilences(next)
	})
}

// silence loads a silence, so that nobody else changes it until the commit.
func (t *tx) silence(id string) (x oncall.Silence, found bool, err error) {
	var doc string
	found, err = one(t, "select doc from silences where id = $1"+t.d.forUpdate, []any{id}, &doc)
	if err != nil || !found {
		return x, false, err
	}
	return x, true, decode(doc, &x)
}

func (t *tx) putSilences(all []oncall.Silence) error {
	if len(all) == 0 {
		return nil
	}
	for _, x := range all {
		if x.ID == "" {
			return oncall.Errorf(oncall.CodeInternal, "a silence without an ID was to be kept")
		}
		doc, err := encode(x)
		if err != nil {
			return err
		}
		if err := t.exec1(`insert into silences (id, ends_at, doc) values ($1, $2, $3)
			on conflict (id) do update set ends_at = excluded.ends_at, doc = excluded.doc`, x.ID, micros(x.EndsAt), doc); err != nil {
			return err
		}
	}
	return t.silencesChanged()
}

// silencesChanged tells everybody who keeps silences in memory.
func (t *tx) silencesChanged() error {
	t.mine.Silences = true
	_, err := t.take("silences", 1)
	return err
}

// noteSilences writes what the dispatcher noted on silences, but on none that somebody has changed since.
func (t *tx) noteSilences(noted []oncall.Silence) error {
	var put []oncall.Silence
	for _, x := range noted {
		now, found, err := t.silence(x.ID)
		if err != nil {
			return err
		}
		if !found || !now.UpdatedAt.After(x.UpdatedAt) {
			put = append(put, x)
		}
	}
	return t.putSilences(put)
}
