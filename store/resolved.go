package store

import (
	"context"
	"database/sql"
	"time"

	"tocsin/oncall"
)

// ResolvedSince returns, of every alert whose last step since since (included) resolved it, that step, in
// order of time.
func (s *Store) ResolvedSince(ctx context.Context, since time.Time) ([]oncall.Transition, error) {
	type alert struct {
		rule        oncall.RuleID
		fingerprint oncall.Fingerprint
	}
	var steps []oncall.Transition
	err := s.view(ctx, func(q queryer) error {
		steps = nil
		last := map[alert]int{}
		err := each(q, "select doc from alert_transitions where at >= $1 order by at, seq", []any{micros(since)}, func(r *sql.Rows) error {
			x, err := scanDoc[oncall.Transition](r)
			last[alert{x.Rule, x.Fingerprint}] = len(steps)
			steps = append(steps, x)
			return err
		})
		kept := steps[:0]
		for i, x := range steps {
			if x.To == oncall.StateResolved && last[alert{x.Rule, x.Fingerprint}] == i {
				kept = append(kept, x)
			}
		}
		steps = kept
		return err
	})
	return steps, err
}
