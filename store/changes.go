package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"tocsin/oncall"
)

// ApplyAlertChanges consumes up to limit alert changes, oldest first, in one transaction. A change that
// fires goes to the open incident of its place, or to a new one; all others go to every incident that holds
// the alert firing, open or not. decide is called once per incident, with its changes in order. consumed <
// limit means that none is left.
func (s *Store) ApplyAlertChanges(ctx context.Context, w oncall.Write, limit int,
	place func(oncall.AlertChange) oncall.Place,
	decide func(oncall.Incident, []oncall.AlertChange) (oncall.Decision, error)) (consumed int, err error) {
	return do(ctx, s, w, func(t *tx) (int, error) {
		a := &application{t: t, rows: t.newRows(), now: w.Now, place: place, decide: decide,
			byPlace: map[string]*target{}, byNumber: map[int64]*target{}, firing: map[oncall.Fingerprint][]*target{}}
		changes, err := t.takeChanges(limit)
		if err != nil || len(changes) == 0 {
			return 0, err
		}
		for _, c := range changes {
			if err := a.assign(c); err != nil {
				return 0, err
			}
		}
		for _, g := range a.targets {
			if err := a.settle(g); err != nil {
				return 0, err
			}
		}
		if err := a.rows.flush(); err != nil {
			return 0, err
		}
		return len(changes), a.finish()
	})
}

// takeChanges removes the oldest changes from the queue and returns them.
func (t *tx) takeChanges(limit int) ([]oncall.AlertChange, error) {
	var cs []oncall.AlertChange
	if err := each(t, "select seq, doc from alert_changes order by seq limit $1"+t.d.forUpdate, []any{limit}, func(r *sql.Rows) error {
		var seq int64
		var doc string
		if err := r.Scan(&seq, &doc); err != nil {
			return err
		}
		var c oncall.AlertChange
		if err := decode(doc, &c); err != nil {
			return err
		}
		c.Seq = seq
		cs = append(cs, c)
		return nil
	}); err != nil || len(cs) == 0 {
		return nil, err
	}
	// Numbers are in the order of commits, so nothing else can lie in between.
	n, err := t.exec("delete from alert_changes where seq between $1 and $2", cs[0].Seq, cs[len(cs)-1].Seq)
	if err != nil {
		return nil, err
	}
	if n != len(cs) {
		return nil, oncall.Errorf(oncall.CodeInternal, "%d alert changes were read, and %d were in their range", len(cs), n)
	}
	return cs, nil
}

// application is one run of ApplyAlertChanges.
type application struct {
	t      *tx
	now    time.Time
	place  func(oncall.AlertChange) oncall.Place
	decide func(oncall.Incident, []oncall.AlertChange) (oncall.Decision, error)

	targets  []*target // in the order of their first change
	byPlace  map[string]*target
	byNumber map[int64]*target
	firing   map[oncall.Fingerprint][]*target // who holds an alert firing: in the store, or since this run

	rows *incidentRows // of new incidents, while several share statements

	last  int64 // last number given to an incident; 0: not read yet
	given int64 // numbers given in this run
}

// target is an incident that changes go to.
type target struct {
	number  int64 // 0: new
	place   oncall.Place
	changes []oncall.AlertChange
}

// assign finds the incidents that a change goes to.
func (a *application) assign(c oncall.AlertChange) error {
	fp := oncall.FingerprintOf(c.Labels)
	holders, err := a.holders(fp)
	if err != nil {
		return err
	}
	if c.Status != oncall.ChangeFiring {
		for _, g := range holders {
			g.changes = append(g.changes, c)
		}
		return nil
	}
	g, err := a.placed(c, fp)
	if err != nil || g == nil {
		return err
	}
	g.changes = append(g.changes, c)
	for _, h := range holders {
		if h == g {
			return nil
		}
	}
	a.firing[fp] = append(holders, g)
	return nil
}

// holders returns the incidents that hold the alert firing.
func (a *application) holders(fp oncall.Fingerprint) ([]*target, error) {
	if gs, ok := a.firing[fp]; ok {
		return gs, nil
	}
	gs := []*target{}
	if err := each(a.t, "select incident from incident_alerts where fingerprint = $1 and state = 'firing' order by incident", []any{string(fp)}, func(r *sql.Rows) error {
		var number int64
		if err := r.Scan(&number); err != nil {
			return err
		}
		gs = append(gs, a.existing(number))
		return nil
	}); err != nil {
		return nil, err
	}
	a.firing[fp] = gs
	return gs, nil
}

func (a *application) existing(number int64) *target {
	if g := a.byNumber[number]; g != nil {
		return g
	}
	g := &target{number: number}
	a.byNumber[number] = g
	a.targets = append(a.targets, g)
	return g
}

// placed returns the open incident of the change's place, or a new one; nil for a place that is nowhere. Where the
// last one there was closed by hand and still holds the alert firing, that one takes what is said of it again: when
// it is time, it hands its alerts to a linked incident. One that was merged sends what comes to where it went, and
// one that its alerts resolved a short while ago goes on (revived).
func (a *application) placed(c oncall.AlertChange, fp oncall.Fingerprint) (*target, error) {
	if c.Into != 0 {
		if open, err := a.isOpen(c.Into); err != nil || open {
			return a.existing(c.Into), err
		}
	}
	p := a.place(c)
	if p.Escalation == "" {
		return nil, nil
	}
	key := placeOf(p.Escalation, p.GroupKey)
	if g := a.byPlace[key]; g != nil {
		return g, nil
	}
	var number int64
	// Locked, so that nobody resolves it before the alert is in.
	open, err := one(a.t, "select number from incidents where place = $1 and state <> 'resolved'"+a.t.d.forUpdate, []any{key}, &number)
	if err != nil {
		return nil, err
	}
	if open {
		a.byPlace[key] = a.existing(number)
		return a.byPlace[key], nil
	}
	if c.LinkedFrom == 0 {
		closed, err := one(a.t, `select i.number from incidents i join incident_alerts a on a.incident = i.number
			where i.place = $1 and i.state = 'resolved' and a.fingerprint = $2 and a.state = 'firing' order by i.number desc limit 1`+a.t.d.forUpdate,
			[]any{key, string(fp)}, &number)
		if err != nil {
			return nil, err
		}
		if closed && !endedIn(a.existing(number).changes, fp) {
			return a.existing(number), nil
		}
	}
	number, err = a.revived(key, c, p.ReopenWithin)
	if err != nil {
		return nil, err
	}
	if number != 0 {
		a.byPlace[key] = a.existing(number)
		return a.byPlace[key], nil
	}
	g := &target{place: p}
	a.targets = append(a.targets, g)
	a.byPlace[key] = g
	return g, nil
}

// isOpen reports whether an incident is open, and keeps it so until the transaction ends.
func (a *application) isOpen(number int64) (bool, error) {
	var found int64
	return one(a.t, "select number from incidents where number = $1 and state <> 'resolved'"+a.t.d.forUpdate, []any{number}, &found)
}

// maxMerges bounds how far one merge after another is followed.
const maxMerges = 20

// revived returns the incident that goes on with a change at a place where none is open: the one that its last one
// was merged into, while that is open, or the last one itself, if its alerts resolved it no longer than within
// before the change. 0: none.
func (a *application) revived(key string, c oncall.AlertChange, within time.Duration) (int64, error) {
	var doc string
	found, err := one(a.t, "select doc from incidents where place = $1 order by number desc limit 1"+a.t.d.forUpdate, []any{key}, &doc)
	if err != nil || !found {
		return 0, err
	}
	var in oncall.Incident
	if err := decode(doc, &in); err != nil {
		return 0, err
	}
	if in.MergedInto == 0 {
		at := c.At
		if at.IsZero() {
			at = a.now
		}
		if in.State == oncall.IncidentResolved && in.ResolvedBy == "" && within > 0 && at.Sub(in.ResolvedAt) <= within {
			return in.Number, nil
		}
		return 0, nil
	}
	for range maxMerges {
		into := in.MergedInto
		if into == 0 {
			return 0, nil
		}
		open, err := a.isOpen(into)
		if err != nil || open {
			return into, err
		}
		in = oncall.Incident{}
		if found, err = one(a.t, "select doc from incidents where number = $1", []any{into}, &doc); err != nil || !found {
			return 0, err
		}
		if err := decode(doc, &in); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// endedIn reports whether an alert ends in changes that are to be decided yet: what follows is a new story.
func endedIn(changes []oncall.AlertChange, fp oncall.Fingerprint) bool {
	return slices.ContainsFunc(changes, func(c oncall.AlertChange) bool {
		return c.Status == oncall.ChangeResolved && oncall.FingerprintOf(c.Labels) == fp
	})
}

// settle has one incident decided and writes the decision.
func (a *application) settle(g *target) error {
	if len(g.changes) == 0 {
		return nil // it holds an alert whose change went elsewhere
	}
	if g.number != 0 {
		_, err := a.t.decide(g.number, a.now, func(in oncall.Incident) (oncall.Decision, error) { return a.decide(in, g.changes) })
		return err
	}
	in, err := a.fresh(g)
	if err != nil {
		return err
	}
	d, err := a.decide(in, g.changes)
	if err != nil || !d.Changed {
		return err
	}
	a.given++
	return a.t.applyNew(a.rows, in, d, a.now)
}

// fresh returns an incident that does not exist yet, with the next number.
func (a *application) fresh(g *target) (oncall.Incident, error) {
	if a.last == 0 && a.given == 0 {
		found, err := one(a.t, "select value from counters where name = 'incident'"+a.t.d.forUpdate, nil, &a.last)
		if err != nil {
			return oncall.Incident{}, err
		}
		if !found {
			return oncall.Incident{}, fmt.Errorf("the counter of incidents is missing from the database")
		}
	}
	n := a.last + a.given + 1
	in := oncall.Incident{
		Number: n, Key: fmt.Sprintf("tocsin-%s-%d", a.t.instance, n),
		Escalation: g.place.Escalation, GroupKey: g.place.GroupKey, GroupLabels: g.place.GroupLabels, Why: g.place.Why,
	}
	for _, c := range g.changes {
		if c.LinkedFrom != 0 {
			in.LinkedFrom = c.LinkedFrom
			break
		}
	}
	return in, nil
}

// finish notes the numbers that were given.
func (a *application) finish() error {
	if a.given == 0 {
		return nil
	}
	return a.t.exec1("update counters set value = $1 where name = 'incident'", a.last+a.given)
}

// requeue hands changes back. Those that come from the queue go to its end. Those that a decision made of
// what it knows of its alerts go to its front: what waits was decided later, and a resolution there must
// find the incident that they open.
func (t *tx) requeue(cs []oncall.AlertChange) error {
	var front, end []oncall.AlertChange
	for _, c := range cs {
		if c.Seq == 0 {
			front = append(front, c)
		} else {
			end = append(end, c)
		}
	}
	if err := t.appendChanges(end); err != nil || len(front) == 0 {
		return err
	}
	var head int64
	waiting, err := one(t, "select seq from alert_changes order by seq limit 1"+t.d.forUpdate, nil, &head)
	if err != nil {
		return err
	}
	if !waiting {
		return t.appendChanges(front)
	}
	return t.putChanges(head-int64(len(front)), front)
}
