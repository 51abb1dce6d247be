package store

import (
	"context"
	"database/sql"

	"tocsin/oncall"
)

// ContactChecks returns the latest check of each user's contacts, oldest first.
func (s *Store) ContactChecks(ctx context.Context) (all []oncall.ContactCheck, err error) {
	err = s.view(ctx, func(q queryer) error {
		all = nil
		return each(q, "select doc from contact_checks order by at, place", nil, func(r *sql.Rows) error {
			c, err := scanDoc[oncall.ContactCheck](r)
			all = append(all, c)
			return err
		})
	})
	return all, err
}

// putChecks writes what a drill found out, in place of what is older.
func (t *tx) putChecks(all []oncall.ContactCheck) error {
	for _, c := range all {
		doc, err := encode(c)
		if err != nil {
			return err
		}
		if err := t.exec1(`insert into contact_checks (place, at, doc) values ($1, $2, $3)
			on conflict (place) do update set at = excluded.at, doc = excluded.doc where contact_checks.at <= excluded.at`,
			hash(c.User, string(c.Endpoint)), micros(c.At), doc); err != nil {
			return err
		}
	}
	return nil
}

// Jobs returns how far each job has come, by name.
func (s *Store) Jobs(ctx context.Context) (all map[string]oncall.JobState, err error) {
	err = s.view(ctx, func(q queryer) error {
		all = map[string]oncall.JobState{}
		return each(q, "select doc from jobs", nil, func(r *sql.Rows) error {
			j, err := scanDoc[oncall.JobState](r)
			all[j.Name] = j
			return err
		})
	})
	return all, err
}

// CommitJob writes how far a job has come.
func (s *Store) CommitJob(ctx context.Context, w oncall.Write, j oncall.JobState) error {
	_, err := do(ctx, s, w, func(t *tx) (struct{}, error) {
		doc, err := encode(j)
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, t.exec1("insert into jobs (name, doc) values ($1, $2) on conflict (name) do update set doc = excluded.doc", hash(j.Name), doc)
	})
	return err
}

// drillColumn tells drills from incidents.
func drillColumn(drill bool) int {
	if drill {
		return 1
	}
	return 0
}
