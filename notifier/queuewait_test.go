package notifier_test

import (
	"fmt"
	"testing"
	"time"

	"tocsin/oncall"
)

// In a storm messages wait in our own queue for a channel that takes one a second. While it delivers, that is no
// failure: nobody is told early because of it.
func TestWaitingForItsTurnInSlackIsNoFailure(t *testing.T) {
	bubble(t, options{policy: func(p *oncall.Policy) {
		esc := p.Escalations["oncall"]
		esc.Tiers = []oncall.Tier{
			{Targets: []oncall.Target{{Kind: oncall.TargetSlack, Name: "#session"}}},
			{After: time.Hour, Targets: []oncall.Target{{Kind: oncall.TargetReceiver, Name: "bo-phone"}}},
		}
		p.Escalations["oncall"] = esc
	}}, func(t *testing.T, r *rig) {
		const many = 50 // deliver_within is 30 s
		services := make([]string, many)
		for i := range services {
			services[i] = fmt.Sprintf("service-%d", i)
		}
		r.fire(services...)
		r.pass(2 * time.Minute)
		for number := int64(1); number <= many; number++ {
			for _, e := range r.incident(number).Timeline {
				if e.Kind == oncall.EntryNotDelivered {
					t.Errorf("#%d: %s", number, e.Text)
				}
			}
		}
		r.wantKinds("bo-phone/0")
	})
}
