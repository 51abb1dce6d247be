package notifier

import "time"

const (
	claimShare = 3                      // claims take up one part of the time in so many
	claimBurst = 150 * time.Millisecond // of credit: what is claimed now and then never rests
	maxRest    = 25 * time.Millisecond  // between two claims of a storm
)

// pace has claims rest in a storm. Each of its commits is a reason to look what may be claimed, and while most endpoints
// have no room, looking keeps the store from writing what would be found. The zero value is ready.
type pace struct {
	next time.Time // no claim begins before
	paid time.Time // the claims so far are paid for by then, at their share of the time
}

// spend notes a claim that took from began to ended.
func (p *pace) spend(began, ended time.Time) {
	if p.paid.Before(began) {
		p.paid = began
	}
	p.paid = p.paid.Add(claimShare * ended.Sub(began))
	if most := ended.Add(claimBurst + maxRest); p.paid.After(most) {
		p.paid = most // or the end of a storm would be claimed slowly for as long as it took
	}
	p.next = p.paid.Add(-claimBurst)
}
