package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"tocsin/oncall"
)

// recentTimeline is how many entries of the timeline a decision sees.
const recentTimeline = 50

func errNoIncident(number int64) error {
	return oncall.Errorf(oncall.CodeNotFound, "there is no incident #%d", number)
}

// loadIncident loads one incident with its rows: the latest entries of the timeline, or all of them for
// entries < 0. lock is appended to the select of the incident.
func loadIncident(q queryer, number int64, entries int, lock string) (oncall.Incident, error) {
	var doc string
	found, err := one(q, "select doc from incidents where number = $1"+lock, []any{number}, &doc)
	if err != nil {
		return oncall.Incident{}, err
	}
	if !found {
		return oncall.Incident{}, errNoIncident(number)
	}
	var in oncall.Incident
	if err := decode(doc, &in); err != nil {
		return oncall.Incident{}, err
	}
	if err := loadAlerts(q, &in); err != nil {
		return oncall.Incident{}, err
	}
	if in.Deliveries, err = loadDeliveries(q, "incident = $1 and kind <> 'edit' order by seq", number); err != nil {
		return oncall.Incident{}, err
	}
	if err := loadWaiting(q, &in); err != nil {
		return oncall.Incident{}, err
	}
	return in, loadTimeline(q, &in, entries)
}

// loadWaiting notes of each delivery that waits for its first attempt when its endpoint last took anything: one that
// waits its turn in a storm has not failed; and of each that another one carries whether that has arrived.
func loadWaiting(q queryer, in *oncall.Incident) error {
	last := map[oncall.Endpoint]time.Time{}
	for i := range in.Deliveries {
		d := &in.Deliveries[i]
		if d.State == oncall.DeliveryQueued && d.Bundle != "" {
			var state string
			if _, err := one(q, "select state from deliveries where key = $1", []any{d.Bundle}, &state); err != nil {
				return err
			}
			d.Arrived = oncall.DeliveryState(state) == oncall.DeliveryDelivered
		}
		if d.State != oncall.DeliveryQueued || d.Attempts > 0 {
			continue
		}
		at, known := last[d.Endpoint]
		if !known {
			var done int64
			if _, err := one(q, "select coalesce(max(done_at), 0) from deliveries where endpoint = $1 and state = 'delivered'", []any{string(d.Endpoint)}, &done); err != nil {
				return err
			}
			at = fromMicros(done)
			last[d.Endpoint] = at
		}
		d.EndpointLast = at
	}
	return nil
}

func loadAlerts(q queryer, in *oncall.Incident) error {
	return each(q, "select doc from incident_alerts where incident = $1 order by seq", []any{in.Number}, func(r *sql.Rows) error {
		a, err := scanDoc[oncall.IncidentAlert](r)
		in.Alerts = append(in.Alerts, a)
		return err
	})
}

func loadTimeline(q queryer, in *oncall.Incident, entries int) error {
	query := "select doc from timeline where incident = $1 order by seq"
	if entries >= 0 {
		// The limit is no argument: SQLite plans a statement anew whenever an argument of limit is bound.
		query += " desc limit " + strconv.Itoa(entries)
	}
	if err := each(q, query, []any{in.Number}, func(r *sql.Rows) error {
		e, err := scanDoc[oncall.TimelineEntry](r)
		in.Timeline = append(in.Timeline, e)
		return err
	}); err != nil {
		return err
	}
	if entries >= 0 {
		slices.Reverse(in.Timeline)
	}
	return nil
}

// Incident returns one incident with all its rows, oncall's not_found for an unknown number.
func (s *Store) Incident(ctx context.Context, number int64) (in oncall.Incident, err error) {
	err = s.view(ctx, func(q queryer) error {
		in, err = loadIncident(q, number, -1, "")
		return err
	})
	return in, err
}

// Incidents lists incidents with their alerts, without timeline and deliveries, newest first.
func (s *Store) Incidents(ctx context.Context, f oncall.IncidentFilter) ([]oncall.Incident, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	before := f.Before
	if before <= 0 {
		before = math.MaxInt64
	}
	where, args := fmt.Sprintf("number < $1 and drill = %d", drillColumn(f.Drills)), []any{before, limit}
	if len(f.States) > 0 {
		where += fmt.Sprintf(" and state in (%s)", holders(3, len(f.States)))
		for _, st := range f.States {
			args = append(args, string(st))
		}
	}
	chosen := "select number from incidents where " + where + " order by number desc limit $2"
	var list []oncall.Incident
	err := s.view(ctx, func(q queryer) error {
		list = nil
		at := map[int64]int{}
		if err := each(q, "select doc from incidents where number in ("+chosen+") order by number desc", args, func(r *sql.Rows) error {
			in, err := scanDoc[oncall.Incident](r)
			at[in.Number] = len(list)
			list = append(list, in)
			return err
		}); err != nil {
			return err
		}
		return each(q, "select incident, doc from incident_alerts where incident in ("+chosen+") order by incident, seq", args, func(r *sql.Rows) error {
			var number int64
			var doc string
			if err := r.Scan(&number, &doc); err != nil {
				return err
			}
			var a oncall.IncidentAlert
			if err := decode(doc, &a); err != nil {
				return err
			}
			in := &list[at[number]]
			in.Alerts = append(in.Alerts, a)
			return nil
		})
	})
	return list, err
}

// DueIncidents returns the incidents whose NextAt is not after now, longest due first, and the earliest
// NextAt of those that are not due (zero: none).
func (s *Store) DueIncidents(ctx context.Context, now time.Time, limit int) (due []int64, next time.Time, err error) {
	err = s.view(ctx, func(q queryer) error {
		due = nil
		if err := each(q, "select number from incidents where next_at > 0 and next_at <= $1 order by next_at, number limit $2",
			[]any{micros(now), limit}, func(r *sql.Rows) error {
				var n int64
				err := r.Scan(&n)
				due = append(due, n)
				return err
			}); err != nil {
			return err
		}
		var at int64
		_, err := one(q, "select next_at from incidents where next_at > 0 and next_at > $1 order by next_at limit 1", []any{micros(now)}, &at)
		next = fromMicros(at)
		return err
	})
	return due, next, err
}

// UpdateIncident loads one incident with its rows, calls decide, and commits the decision. It returns
// oncall's not_found for an unknown number, and ErrRequestSeen for a request that was committed before,
// whatever was decided then.
func (s *Store) UpdateIncident(ctx context.Context, w oncall.Write, number int64,
	decide func(oncall.Incident) (oncall.Decision, error)) (oncall.Decision, error) {
	return do(ctx, s, w, func(t *tx) (oncall.Decision, error) {
		return t.decide(number, w.Now, decide)
	})
}
