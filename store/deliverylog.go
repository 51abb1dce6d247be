package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tocsin/oncall"
)

// DeliveryLog lists deliveries without their bodies, newest first. Redraws of messages that arrived are left out: there is
// one for each change that people see. Code: not_found where f.Before is the key of none.
func (s *Store) DeliveryLog(ctx context.Context, f oncall.DeliveryFilter) (ds []oncall.Delivery, err error) {
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	where := []string{"(kind <> 'edit' or state <> 'delivered')"}
	if f.Incident != 0 {
		where = append(where, "incident = "+arg(f.Incident))
	}
	if f.Endpoint != "" {
		where = append(where, "endpoint = "+arg(string(f.Endpoint)))
	}
	if len(f.States) > 0 {
		in := make([]string, len(f.States))
		for i, state := range f.States {
			in[i] = arg(string(state))
		}
		where = append(where, "case when confirm = 'waiting' then 'accepted' else state end in ("+strings.Join(in, ", ")+")")
	}
	err = s.view(ctx, func(q queryer) error {
		if f.Before != "" {
			d, _, err := loadDelivery(q, f.Before)
			if err != nil {
				return err
			}
			where = append(where, fmt.Sprintf("(created_at, incident, seq) < (%s, %s, %s)", arg(micros(d.CreatedAt)), arg(d.Incident), arg(d.Seq)))
		}
		ds = nil
		return each(q, "select "+deliveryColumns+ofDrill+" from deliveries where "+strings.Join(where, " and ")+
			" order by created_at desc, incident desc, seq desc limit "+strconv.Itoa(f.Limit), args, func(r *sql.Rows) error {
			var drill int
			d, err := scanDelivery(r, &drill)
			d.Drill = drill != 0
			ds = append(ds, d)
			return err
		})
	})
	return ds, err
}

// DeliveryAttempts returns one delivery with its body, and what is on record of its attempts, oldest first; oncall's
// not_found for an unknown key. Redraws of messages leave no record but the last result.
func (s *Store) DeliveryAttempts(ctx context.Context, key string) (d oncall.Delivery, attempts []oncall.Attempt, err error) {
	err = s.view(ctx, func(q queryer) error {
		if d, _, err = loadDelivery(q, key); err != nil {
			return err
		}
		return each(q, "select doc from timeline where incident = $1 and kind = $2 order by seq", []any{d.Incident, string(oncall.EntryAttempt)},
			func(r *sql.Rows) error {
				e, err := scanDoc[oncall.TimelineEntry](r)
				if err == nil && e.Delivery == key && e.Attempt != nil {
					attempts = append(attempts, *e.Attempt)
				}
				return err
			})
	})
	return d, attempts, err
}

// EndpointQueues returns what waits, by endpoint.
func (s *Store) EndpointQueues(ctx context.Context) (all []oncall.EndpointQueue, err error) {
	err = s.view(ctx, func(q queryer) error {
		return each(q, `select endpoint, sum(case when state = 'queued' then 1 else 0 end), sum(case when state = 'sending' then 1 else 0 end),
				min(created_at), coalesce(min(case when state = 'queued' then next_at end), 0)
			from deliveries where state in ('queued', 'sending') group by endpoint order by endpoint`, nil, func(r *sql.Rows) error {
			var e oncall.EndpointQueue
			var oldest, next int64
			err := r.Scan((*string)(&e.Endpoint), &e.Waiting, &e.Sending, &oldest, &next)
			e.Oldest, e.NextAt = fromMicros(oldest), fromMicros(next)
			all = append(all, e)
			return err
		})
	})
	return all, err
}

// LastDelivered returns when each endpoint last took a delivery, confirmed where it confirms them.
func (s *Store) LastDelivered(ctx context.Context) (map[oncall.Endpoint]time.Time, error) {
	last := map[oncall.Endpoint]time.Time{}
	err := s.view(ctx, func(q queryer) error {
		return each(q, "select endpoint, max(done_at) from deliveries where state = 'delivered' and confirm <> 'waiting' group by endpoint", nil, func(r *sql.Rows) error {
			var e string
			var at int64
			err := r.Scan(&e, &at)
			last[oncall.Endpoint(e)] = fromMicros(at)
			return err
		})
	})
	return last, err
}
