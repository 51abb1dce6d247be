package store

import (
	"context"
	"database/sql"

	"tocsin/oncall"
)

// HastenEdits has the edits that wait to be tried again, at the endpoints that covers names, tried at once, each in its
// order. It returns how many.
func (s *Store) HastenEdits(ctx context.Context, w oncall.Write, covers func(oncall.Endpoint) bool) (n int, err error) {
	return do(ctx, s, w, func(t *tx) (int, error) {
		var endpoints []string
		err := each(t, "select distinct endpoint from deliveries where state = 'queued' and next_at > $1 and kind = 'edit' order by endpoint",
			[]any{micros(w.Now)}, func(r *sql.Rows) error {
				var e string
				err := r.Scan(&e)
				if covers(oncall.Endpoint(e)) {
					endpoints = append(endpoints, e)
				}
				return err
			})
		if err != nil {
			return 0, err
		}
		all := 0
		for _, e := range endpoints {
			n, err := t.exec("update deliveries set next_at = $1 where state = 'queued' and next_at > $2 and kind = 'edit' and endpoint = $3",
				micros(w.Now), micros(w.Now), e)
			if err != nil {
				return 0, err
			}
			all += n
		}
		t.mine.Deliveries = t.mine.Deliveries || all > 0
		return all, nil
	})
}
