package notifier

import (
	"sync"
	"time"

	"tocsin/oncall"
)

// limit is how much an endpoint is asked at once.
type limit struct {
	inFlight int
	apart    time.Duration // between the starts of two attempts
	gather   time.Duration // between the starts of two first attempts that ask the same target: what asks meanwhile is bundled
}

// limits by kind of endpoint. Slack takes about one message a second in a channel, edits included; asking
// for more only earns a 429 that holds up the whole channel.
var limits = map[string]limit{
	"slack": {inFlight: 1, apart: time.Second},
	"chart": {inFlight: 1, apart: 3 * time.Second}, // nobody waits for them, and Slack counts them beside messages
	"page":  {inFlight: 4, gather: time.Second},    // several, so that one that hangs does not hold up the next bundle
	"call":  {inFlight: 1},                         // a telephone is one
	"sms":   {inFlight: 2},
	"ntfy":  {inFlight: 4, gather: time.Second},
}

// integration is the limit of each of Alertmanager's integrations.
var integration = limit{inFlight: 4}

func limitOf(e oncall.Endpoint) limit {
	l, ok := limits[e.Kind()]
	switch {
	case ok:
		return l
	case e.Integration():
		return integration
	}
	return limit{inFlight: 1}
}

// lanes know what each endpoint can take now. A claim asks them on the store's goroutine, perhaps even
// after its caller has left.
type lanes struct {
	mu sync.Mutex
	of map[oncall.Endpoint]*lane // guarded by mu, with what it points to
}

// lane is what is remembered of one endpoint while there is something to remember.
type lane struct {
	limit
	flying  int
	asked   map[string]time.Time // by target: the start of the last first attempt that asked; only of the last moments
	started time.Time            // of the last attempt
	held    time.Time            // Retry-After: nothing is sent before
	failing bool                 // the last attempt was not confirmed: one at a time, so that a dead far end ties up little
	shut    bool                 // the last that it answered was a refusal that a person must mend
	off     string               // why the endpoint is switched off until the next Apply, "" if it is not
}

func newLanes() *lanes { return &lanes{of: map[oncall.Endpoint]*lane{}} }

func (l *lanes) get(e oncall.Endpoint) *lane {
	n := l.of[e]
	if n == nil {
		n = &lane{limit: limitOf(e)}
		l.of[e] = n
	}
	return n
}

// free returns how many more deliveries the endpoint can take: of those that ask a target for the first time, or of
// others for "". It changes nothing.
func (l *lanes) free(e oncall.Endpoint, target string, now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.of[e]
	if n == nil {
		return limitOf(e).inFlight
	}
	if n.off != "" {
		return max(0, 16-n.flying) // nothing is sent: they are refused at once
	}
	if n.opens().After(now) || target != "" && n.asked[target].Add(n.gather).After(now) {
		return 0
	}
	most := n.inFlight
	if n.failing {
		most = 1
	}
	return max(0, most-n.flying)
}

// opens is when the next attempt may start, as far as time is concerned.
func (n *lane) opens() time.Time {
	at := n.held
	if n.apart > 0 && !n.started.IsZero() {
		if next := n.started.Add(n.apart); next.After(at) {
			at = next
		}
	}
	return at
}

// start counts a delivery in. off says why it must not be sent, "" to send it.
func (l *lanes) start(c *oncall.Claim, now time.Time) (off string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.get(c.Delivery.Endpoint)
	n.flying++
	if c.Lane != "" && n.gather > 0 {
		if n.asked == nil {
			n.asked = map[string]time.Time{}
		}
		n.asked[c.Lane] = now
	}
	return n.off
}

// done takes in how an attempt ended. mended: the endpoint takes things again after it had to be mended.
func (l *lanes) done(r result) (mended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.get(r.endpoint)
	n.flying--
	if !r.sent {
		return false
	}
	a := r.attempt
	if a.At.After(n.started) {
		n.started = a.At
	}
	if a.RetryAfter > 0 && !a.OwnHold {
		if until := a.At.Add(a.Took).Add(a.RetryAfter); until.After(n.held) {
			n.held = until
		}
	}
	switch a.Outcome {
	case oncall.OutcomeDelivered, oncall.OutcomeAccepted, oncall.OutcomeRefused:
		n.failing = false // it answers
	case oncall.OutcomeRetry, oncall.OutcomeUnknown:
		n.failing = true
	case oncall.OutcomeGone:
		n.failing = false
		if !r.drill { // one that tries an address out must not keep the next real page from trying it too
			n.off = goneText(a)
		}
	}
	mended = n.shut && a.Outcome == oncall.OutcomeDelivered
	n.shut = a.Mendable || n.shut && !mended
	return mended
}

// next returns the earliest instant after now at which a lane opens, zero if none waits for time, and
// forgets the lanes that have nothing to remember.
func (l *lanes) next(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	var at time.Time
	for e, n := range l.of {
		opens := n.opens()
		for target, asked := range n.asked {
			if until := asked.Add(n.gather); until.After(now) {
				at = earlier(at, until)
			} else {
				delete(n.asked, target)
			}
		}
		if opens.After(now) {
			at = earlier(at, opens)
		} else if len(n.asked) == 0 && n.flying == 0 && n.off == "" && !n.failing && !n.shut {
			delete(l.of, e)
		}
	}
	return at
}

// enable switches everything on again, after a reload. What a far end asked for by Retry-After still holds.
func (l *lanes) enable() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.of {
		n.off, n.failing, n.asked = "", false, nil
	}
}
