package evaluator

import (
	"context"
	"errors"
	"sync"
	"time"

	"tocsin/rules"
)

// aheadQueries is how many queries a group has under way at most, the one whose turn it is included: as many as
// must fail before a backend counts as in trouble. One that begins to hang is then asked no more than if the rules
// were asked one after the other.
const aheadQueries = troubleAfter

// lookahead asks what the later rules of a group need to know while an earlier one is evaluated. Answers alone
// are fetched early. Rules are stepped, committed and written in their order, each after the one before, so that
// nobody can see it; and what may read a series of an earlier rule is asked when its turn has come.
type lookahead struct {
	gr  *groupRun
	it  *iteration
	ctx context.Context // of the generation, until it is given up
	end time.Time       // of the interval

	giveUp context.CancelCauseFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	next    int        // the first rule that was not looked at
	running int
	off     bool // the backend failed: the rest is asked in order
	hung    bool // a question waited to its timeout
}

// fetch lets the answers of the rules from i on be fetched, beside what rule i asks itself. A backend that has not
// answered in this iteration yet may be dead: the group's first rule finds out alone.
func (l *lookahead) fetch(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next = max(l.next, i); i > 0 {
		l.begin(false)
	}
}

// waits tells that the rule whose turn it is asks nothing, but waits for an answer that is being fetched: one more
// may be fetched meanwhile.
func (l *lookahead) waits() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin(true)
}

// begin begins to fetch. l.mu is held.
func (l *lookahead) begin(instead bool) {
	if l.next >= len(l.gr.rules) {
		return
	}
	from := l.gr.rules[l.next].from
	limit := cap(from.ahead) - 1
	if instead {
		limit++
	}
	for !l.off && l.running < limit && from.lend() {
		l.running++
		instead := l.running == cap(from.ahead)
		l.wg.Go(func() {
			l.run(instead)
			<-from.ahead
		})
	}
}

// errGivenUp is why a question that was asked ahead was broken off after another had waited to its timeout.
var errGivenUp = errors.New("given up")

// newLookahead begins an iteration; close ends it.
func newLookahead(ctx context.Context, gr *groupRun, it *iteration) *lookahead {
	l := &lookahead{gr: gr, it: it, end: it.at.Add(gr.clock.interval)}
	l.ctx, l.giveUp = context.WithCancelCause(ctx)
	it.later = l
	return l
}

// run fetches one answer after the other until there is none left, or the backend has no place to spare. The
// group's next rule begins it again.
func (l *lookahead) run(instead bool) {
	for l.ctx.Err() == nil {
		b, text := l.take(instead)
		if b == nil {
			return
		}
		timeout := l.gr.gen.plan.queryTimeout(b.group)
		a, mine := l.gr.gen.once(l.ctx, b, text, l.it, timeout)
		if mine && a.err != nil && kindOf(a.err) == BackendError {
			l.failed(a.took >= timeout*9/10)
		}
	}
}

// take returns the next question; nil where there is none, and the caller is to end. Who asks instead of the rule
// whose turn it is goes no further than to the next rule that must ask in its turn, and is done when that comes.
func (l *lookahead) take(instead bool) (*bound, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.off && l.next < len(l.gr.rules) && l.gr.rules[l.next].from.spare() {
		b := l.gr.rules[l.next]
		text := b.ahead()
		if text == "" && instead {
			break
		}
		l.next++
		if text != "" && !l.it.has(text) {
			return b, text
		}
	}
	l.running--
	return nil, ""
}

func (l *lookahead) failed(hung bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off, l.hung = true, l.hung || hung
}

// stop fetches nothing more in this iteration, and waits for what is under way: the next rule must not be asked
// beside it. It does not wait beyond the interval, as the rules that follow must not.
func (l *lookahead) stop() {
	l.failed(false)
	t := time.AfterFunc(max(time.Until(l.end), time.Second), func() { l.giveUp(errGivenUp) })
	defer t.Stop()
	l.wg.Wait()
}

// close ends the iteration.
func (l *lookahead) close() {
	l.wg.Wait()
	l.giveUp(nil)
}

// hangs reports that a question waited to its timeout.
func (l *lookahead) hangs() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hung
}

// ahead is what the grid asks for the rule; "" where that cannot be known, or not be asked, before its turn.
func (b *bound) ahead() string {
	switch {
	case b.ask.alone:
		return ""
	case b.rule.Record != "":
		return b.ask.exact
	case b.ask.vector != "" && b.rule.NoData == rules.NoDataAlert:
		return "" // it may have to look back first
	case b.ask.vector != "" && b.rule.NoData == rules.NoDataHold:
		if alerts, _, _ := b.state.read(); alerts.anyGone() {
			return b.ask.vector
		}
	}
	return b.ask.shared
}

// lend takes one of the backend's tokens for those who look ahead, to be given back.
func (a *asking) lend() bool {
	if !a.spare() {
		return false
	}
	select {
	case a.ahead <- struct{}{}:
		return true
	default:
		return false
	}
}

// spare reports that the backend may be asked ahead: it is well, few others ask it, and one place stays free for
// the end of a for.
func (a *asking) spare() bool {
	return len(a.places) < cap(a.ahead) && a.trouble.none()
}

// none reports that the backend's last query did not fail by its fault.
func (t *trouble) none() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failures == 0
}
