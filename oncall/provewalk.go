package oncall

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// walk follows one incident from its trigger on, as the machine would, as far as the promise reaches. It knows of the
// machine only what matters while nobody acts and every delivery arrives at once; a test holds the two together.
type walk struct {
	*proof
	end    time.Time // of the promise
	number int       // of the incident: it says who begins in a round robin
	lines  int       // least common multiple of how many stand in each line of a round robin

	now      time.Time
	next     int  // tier
	tierNow  bool // it is told at once
	anchor   time.Time
	roundAt  time.Time
	repeats  int
	passed   []int
	last     []listener // told by the last tier
	told     []listener // in this round
	toldTier int        // the tier of last

	reached  time.Time // zero: nobody
	kept     bool
	endless  bool // there are more orders of the round robins than are gone through
	lastTier int  // that was looked at within the promise
	explain  bool
	reasons  []string // where explain is set
}

// listener is a target that was told.
type listener struct {
	user    bool
	begins  time.Time
	failed  bool      // there is nothing to reach it by
	reached time.Time // when it reaches a person; zero: never
}

// maxLines bounds what is gone through for one trigger.
const maxLines = 5000

// worst follows incidents that are triggered at an instant, whatever their number, until one does not keep the
// promise, and returns the last. Numbers that leave the same remainder by the length of each line are as one.
func (pr *proof) worst(at time.Time) *walk {
	w := pr.walk(at, 0, false)
	for number, lines := 1, w.lines; w.kept && number < lines; number++ {
		if w = pr.walk(at, number, false); number >= maxLines {
			w.kept, w.endless = false, true
		}
		lines = lcm(lines, w.lines)
	}
	return w
}

// lcm is the least common multiple of two numbers above 0, or something far above maxLines.
func lcm(a, b int) int {
	gcd := a
	for rest := b; rest != 0; {
		gcd, rest = rest, gcd%rest
	}
	return min(a/gcd*b, 1<<31)
}

// walk follows the incident of a number that is triggered at an instant.
func (pr *proof) walk(at time.Time, number int, explain bool) *walk {
	w := &walk{proof: pr, number: number, lines: 1, now: at, anchor: at, roundAt: at, end: at.Add(pr.e.Promise.Within), lastTier: -1, explain: explain}
	for w.step() {
	}
	w.kept = !w.reached.IsZero() && !w.reached.After(w.end)
	return w
}

// counted is the number of the incident as the machine counts, from 1 on; 0 where any will do.
func (w *walk) counted() int64 {
	switch {
	case w.lines <= 1:
		return 0
	case w.number == 0:
		return int64(w.lines)
	}
	return int64(w.number)
}

// step does what happens next; false: nothing does in time.
func (w *walk) step() bool {
	passed, at, ok := w.passedDue()
	what := func() {
		w.passed = slices.DeleteFunc(w.passed, func(x int) bool { return x == passed })
		w.tell(passed)
	}
	if due, may := w.tierDue(); may && (!ok || due.Before(at)) {
		at, ok, what = due, true, w.runTier
	}
	if due, may := w.roundDue(); may && (!ok || due.Before(at)) {
		at, ok, what = due, true, w.beginRound
	}
	if !ok || at.After(w.end) || !w.reached.IsZero() && !w.reached.After(at) {
		return false
	}
	if at.After(w.now) {
		w.now = at
	}
	what()
	return true
}

func (w *walk) passedDue() (tier int, at time.Time, ok bool) {
	for _, i := range w.passed {
		if t, may := firstIn(w.allowed[i], w.now); may && (!ok || t.Before(at)) {
			tier, at, ok = i, t, true
		}
	}
	return tier, at, ok
}

func (w *walk) tierDue() (time.Time, bool) {
	switch {
	case w.next >= len(w.e.Tiers):
		return time.Time{}, false
	case w.tierNow:
		return w.now, true
	}
	at := w.roundAt.Add(w.e.Tiers[w.next].After)
	if w.low {
		var first time.Time
		for _, l := range w.last {
			if l.user && !l.failed && (first.IsZero() || l.begins.Before(first)) {
				first = l.begins
			}
		}
		if wait := first.Add(max(0, w.e.Tiers[w.next].After-w.e.Tiers[w.toldTier].After)); !first.IsZero() && wait.After(at) {
			at = wait
		}
	}
	return at, true
}

func (w *walk) roundDue() (time.Time, bool) {
	e := w.e
	if w.next < len(e.Tiers) || len(e.Tiers) == 0 || w.repeats >= e.Repeat.Times || e.Repeat.Every <= 0 {
		return time.Time{}, false
	}
	at := w.anchor.Add(time.Duration(w.repeats+1) * e.Repeat.Every)
	for _, l := range w.told {
		if wait := l.begins.Add(max(0, e.Repeat.Every-e.Tiers[len(e.Tiers)-1].After)); w.low && l.user && !l.failed && wait.After(at) {
			at = wait
		}
	}
	return at, true
}

func (w *walk) beginRound() {
	w.repeats++
	w.roundAt, w.next, w.tierNow = w.now, 0, false
	w.passed, w.last, w.told = nil, nil, nil
	w.reached = time.Time{} // contact rules that were still to run do not run any more
}

// runTier tells the next tier, or passes it over.
func (w *walk) runTier() {
	i := w.next
	w.next++
	if at, ok := firstIn(w.allowed[i], w.now); !ok || !at.Equal(w.now) {
		w.passed = append(w.passed, i)
		w.lastTier = i
		w.say(i, func() string { return "is passed over: it is told only " + w.conditionText(i) })
		return
	}
	w.tierNow = false
	w.tell(i)
}

func (w *walk) conditionText(i int) string {
	var parts []string
	for _, c := range []Condition{w.e.Condition, w.e.Tiers[i].Condition} {
		if !c.IsZero() {
			parts = append(parts, c.String())
		}
	}
	return "when " + strings.Join(parts, ", ")
}

// tell tells the targets of a tier.
func (w *walk) tell(i int) {
	t := w.e.Tiers[i]
	var nobody, line []listener
	seen := map[Target]bool{}
	add := func(x Target) {
		if !seen[x] {
			seen[x] = true
			line = append(line, w.listen(i, x))
		}
	}
	for _, x := range t.Targets {
		if x.Kind != TargetSchedule {
			add(x)
			continue
		}
		at, ok := w.shift(x.Name, w.now)
		if !ok || len(w.shiftsOf(x.Name)[at].Users) == 0 {
			nobody = append(nobody, listener{failed: true})
			w.say(i, func() string { return w.gapText(x.Name, at, ok) })
			continue
		}
		for _, u := range w.shiftsOf(x.Name)[at].Users {
			add(Target{TargetUser, u})
		}
	}
	if t.RoundRobin && len(line) > 1 {
		line = w.turns(line)
	}
	w.last, w.toldTier, w.lastTier = append(nobody, line...), i, i
	w.told = append(w.told, w.last...)
	for _, l := range w.last {
		if !l.reached.IsZero() && (w.reached.IsZero() || l.reached.Before(w.reached)) {
			w.reached = l.reached
		}
	}
	if !slices.ContainsFunc(w.last, func(l listener) bool { return !l.failed }) {
		w.tierNow = true // as for the next tier, if there is one
	}
}

// turns returns who is told of a line: whoever cannot be reached is passed by at once.
func (w *walk) turns(line []listener) []listener {
	w.lines = lcm(w.lines, len(line))
	k := (w.number + w.repeats) % len(line)
	line = slices.Concat(line[k:], line[:k])
	if told := slices.IndexFunc(line, func(l listener) bool { return !l.failed }); told >= 0 {
		line = line[:told+1]
	}
	return line
}

// listen works out what becomes of telling a target now.
func (w *walk) listen(tier int, x Target) listener {
	l := listener{user: x.Kind == TargetUser, begins: w.now}
	switch x.Kind {
	case TargetSlack:
		w.say(tier, func() string { return "only a channel is told (" + x.String() + ")" })
	case TargetReceiver:
		ends := w.p.Receivers[x.Name].all()
		l.failed = len(ends) == 0
		if slices.ContainsFunc(ends, wakes) {
			l.reached = w.now
			return l
		}
		w.say(tier, func() string { return x.String() + " pages nobody: what it sends to is no pager" })
	case TargetUser:
		w.listenUser(tier, x.Name, &l)
	}
	return l
}

// listenUser follows the contact rules of a user.
func (w *walk) listenUser(tier int, user string, l *listener) {
	u := w.p.Users[user]
	m := machine{p: w.p}
	contacts := m.contacts(Target{TargetUser, user})
	if len(contacts) == 0 {
		l.failed = true
		w.say(tier, func() string { return "user " + user + " has no contacts" })
		return
	}
	if w.low {
		l.begins = w.awake(user, w.anchor.Add(w.deadline()))
	}
	for _, c := range contacts {
		if slices.ContainsFunc(m.endpoints(c, user), func(e Endpoint) bool { return w.p.ownEndpoint(user, e) }) {
			if l.reached = l.begins.Add(c.After); l.reached.After(w.end) {
				w.say(tier, func() string {
					return fmt.Sprintf("user %s is told by %s only at %s", user, contactName(c), clockFor(u.Location, l.reached))
				})
			}
			return
		}
	}
	w.say(tier, func() string { return "no contact of user " + user + " is their own: only a channel is told" })
}

// awake is User.Awake from now on.
func (w *walk) awake(user string, latest time.Time) time.Time {
	if !w.now.Before(latest) {
		return w.now
	}
	if at, ok := firstIn(w.daytimeOf(user), w.now); ok && at.Before(latest) {
		return at
	}
	return latest
}

// gapText says in which schedule nobody is on call, from when to when.
func (w *walk) gapText(schedule string, at int, ok bool) string {
	text := "nobody is on call in schedule " + schedule
	if !ok {
		return text + ": there is none"
	}
	shifts := w.shiftsOf(schedule)
	first, last := at, at
	for first > 0 && len(shifts[first-1].Users) == 0 {
		first--
	}
	for last+1 < len(shifts) && len(shifts[last+1].Users) == 0 {
		last++
	}
	const form = "Mon 2 Jan 2006 15:04 MST"
	if first > 0 {
		text += " from " + shifts[first].From.Format(form)
	}
	if last+1 < len(shifts) {
		text += " until " + shifts[last].To.Format(form)
	}
	return text
}

func (w *walk) say(tier int, text func() string) {
	if w.explain {
		w.reasons = append(w.reasons, fmt.Sprintf("the %s tier: %s", Nth(tier), text()))
	}
}

// why says why nobody is reached in time.
func (w *walk) why() string {
	reasons := slices.Compact(w.reasons)
	if w.endless {
		reasons = append(reasons, fmt.Sprintf("its round robins can begin in more than %d ways, too many to prove each", maxLines))
	}
	if at, ok := w.tierDue(); ok && at.After(w.end) {
		reasons = append(reasons, fmt.Sprintf("the %s tier is told only %s after the trigger", Nth(w.next), short(at.Sub(w.anchor))))
	}
	text := strings.Join(reasons, "; ")
	if of := w.alert.String(); of != "" {
		text = "where " + of + ": " + text
	}
	return text
}
