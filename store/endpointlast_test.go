package store_test

import (
	"testing"
	"time"

	"tocsin/oncall"
	"tocsin/store"
)

// A delivery that was never tried knows when its endpoint last took another one.
func TestADeliveryKnowsThatItsEndpointDelivers(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		began := time.Now().Truncate(time.Microsecond)
		lease, _, err := s.Acquire(t.Context(), "all", "test", began, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		write := func(at time.Time) oncall.Write { return oncall.Write{Now: at, Lease: &lease} }
		if err := s.CommitDispatch(t.Context(), write(began), oncall.Dispatch{Changes: changes(2)}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ApplyAlertChanges(t.Context(), write(began), 10, placeOf, openIncident); err != nil {
			t.Fatal(err)
		}
		only := func(e oncall.Endpoint, _ string) int {
			if e == "slack:#a" {
				return 1
			}
			return 0
		}
		got, err := s.ClaimDeliveries(t.Context(), write(time.Now()), oncall.ClaimRequest{Limit: 10, Free: only})
		claims := got.Claims
		if err != nil || len(claims) != 1 {
			t.Fatalf("%d claims, %v", len(claims), err)
		}
		waits := func() (last time.Time) {
			for number := int64(1); number <= 2; number++ {
				if number == claims[0].Delivery.Incident {
					continue
				}
				in, err := s.Incident(t.Context(), number)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range in.Deliveries {
					if d.Endpoint == "slack:#a" {
						last = d.EndpointLast
					} else if !d.EndpointLast.IsZero() {
						t.Errorf("%s has delivered nothing, and is said to have at %s", d.Endpoint, d.EndpointLast)
					}
				}
			}
			return last
		}
		if at := waits(); !at.IsZero() {
			t.Errorf("nothing was delivered, and the endpoint delivered at %s", at)
		}
		done := began.Add(7 * time.Second)
		if err := s.FinishDelivery(t.Context(), write(done), claims[0].Delivery.Key, oncall.Attempt{At: done, Outcome: oncall.OutcomeDelivered},
			oncall.DeliveryDelivered, time.Time{}, nil); err != nil {
			t.Fatal(err)
		}
		if at := waits(); !at.Equal(done) {
			t.Errorf("the endpoint delivered at %s, want %s", at, done)
		}
	})
}
