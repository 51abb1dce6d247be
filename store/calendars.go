package store

import (
	"context"

	"tocsin/oncall"
)

// How often the addresses of a calendar were revoked is a counter: addresses made since are good.

func calendarCounter(c oncall.CalendarOf) string { return indexed("calendar:" + c.Name()) }

// CalendarRevoked returns how often the addresses of a calendar were revoked.
func (s *Store) CalendarRevoked(ctx context.Context, c oncall.CalendarOf) (times int64, err error) {
	err = s.view(ctx, func(q queryer) error {
		_, err := one(q, "select value from counters where name = $1", []any{calendarCounter(c)}, &times)
		return err
	})
	return times, err
}

// RevokeCalendar makes all addresses of a calendar bad that were given out so far, and returns how often that has been
// done. It returns ErrRequestSeen for a request that was committed before.
func (s *Store) RevokeCalendar(ctx context.Context, w oncall.Write, c oncall.CalendarOf) (times int64, err error) {
	return do(ctx, s, w, func(t *tx) (times int64, err error) {
		_, err = one(t, "insert into counters (name, value) values ($1, 1) on conflict (name) do update set value = counters.value + 1 returning value",
			[]any{calendarCounter(c)}, &times)
		t.changes++
		return times, err
	})
}
