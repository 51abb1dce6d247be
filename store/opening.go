package store

import (
	"context"

	"tocsin/oncall"
)

// OpenIncident opens the incident of a place by what decide makes of an empty one (with Number, Key, Escalation,
// GroupKey, GroupLabels and Why filled in), unless one is open there: then that one's number is returned, and
// opened is false. It returns ErrRequestSeen for a repeated Request; IncidentAt finds what that one opened.
func (s *Store) OpenIncident(ctx context.Context, w oncall.Write, place oncall.Place,
	decide func(oncall.Incident) (oncall.Decision, error)) (number int64, opened bool, err error) {
	type outcome struct {
		number int64
		opened bool
	}
	o, err := do(ctx, s, w, func(t *tx) (outcome, error) {
		var there int64
		found, err := one(t, "select number from incidents where place = $1 and state <> 'resolved'"+t.d.forUpdate,
			[]any{placeOf(place.Escalation, place.GroupKey)}, &there)
		if err != nil || found {
			return outcome{there, false}, err
		}
		a := &application{t: t, now: w.Now}
		in, err := a.fresh(&target{place: place})
		if err != nil {
			return outcome{}, err
		}
		d, err := decide(in)
		if err != nil {
			return outcome{}, err
		}
		if !d.Changed {
			return outcome{}, oncall.Errorf(oncall.CodeInternal, "an incident was to be opened, and nothing was decided")
		}
		if _, err := t.apply(in, d, w.Now); err != nil { // a new incident has nothing to take back
			return outcome{}, err
		}
		a.given++
		return outcome{in.Number, true}, a.finish()
	})
	return o.number, o.opened, err
}

// IncidentAt returns the number of the latest incident of a place, open or ended, or not_found.
func (s *Store) IncidentAt(ctx context.Context, place oncall.Place) (number int64, err error) {
	var found bool
	err = s.view(ctx, func(q queryer) error {
		found, err = one(q, "select number from incidents where place = $1 order by number desc limit 1",
			[]any{placeOf(place.Escalation, place.GroupKey)}, &number)
		return err
	})
	if err == nil && !found {
		err = oncall.Errorf(oncall.CodeNotFound, "there is no incident at that place")
	}
	return number, err
}
