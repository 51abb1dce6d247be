package notifier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/oncall"
)

// DrillStore is what drills need of the store.
type DrillStore interface {
	OpeningStore
	// Incident returns one incident with all its rows, or not_found.
	Incident(ctx context.Context, number int64) (oncall.Incident, error)
	// Incidents lists incidents with their alerts, newest first.
	Incidents(ctx context.Context, f oncall.IncidentFilter) ([]oncall.Incident, error)
	// ContactChecks returns the latest check of each user's contacts.
	ContactChecks(ctx context.Context) ([]oncall.ContactCheck, error)
	// Jobs returns how far each job has come, by name.
	Jobs(ctx context.Context) (map[string]oncall.JobState, error)
	// CommitJob writes how far a job has come.
	CommitJob(ctx context.Context, w oncall.Write, j oncall.JobState) error
}

// DrillOptions are what Drills needs.
type DrillOptions struct {
	Store      DrillStore
	Policy     func() oncall.Policy
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are not shown
}

// Drills begins drills, for people and for jobs, and knows what they found out.
type Drills struct {
	o    DrillOptions
	log  *slog.Logger
	jobs jobList
	post atomic.Pointer[DigestSender] // who posts digests; nil: nobody
	wake chan struct{}
}

// NewDrills makes Drills. Jobs do nothing before Apply and Run.
func NewDrills(o DrillOptions) *Drills {
	d := &Drills{o: o, log: logger(o.Logger), wake: make(chan struct{}, 1)}
	if o.Registerer != nil {
		o.Registerer.MustRegister(&checkMetrics{d})
	}
	return d
}

// drillPause is how long the user of a drill is left alone by the next one.
const drillPause = time.Minute

// DrillWish asks for drills.
type DrillWish struct {
	Users   []string // none: everybody who can be reached
	Daytime bool     // each only in their daytime
	Actor   string
	Via     string // "api", "slack", "job"
	Job     string // the job that asks, "" for a person
}

// DrillStarted is what came of a drill for one user.
type DrillStarted struct {
	User    string `json:"user"`
	Number  int64  `json:"number,omitempty"`  // of the drill
	Refused string `json:"refused,omitempty"` // why there is none now
	// Later says that a refusal is about the moment, and not about the user.
	Later bool `json:"later,omitempty"`
}

// Start begins a drill of each user, once per request ("" for requests without an identity). It needs no lease. What
// is refused for one user holds up no other. Codes: not_found for a user who is unknown: then nothing was begun;
// invalid where there is nobody; unavailable.
func (d *Drills) Start(ctx context.Context, w DrillWish, request string) ([]DrillStarted, error) {
	p := d.o.Policy()
	users := slices.Clone(w.Users)
	if len(users) == 0 {
		users = p.Reachable()
	}
	if len(users) == 0 {
		return nil, oncall.Errorf(oncall.CodeInvalid, "nobody can be reached: no user has contacts")
	}
	for _, u := range users {
		if _, err := p.User(u); err != nil {
			return nil, err
		}
	}
	slices.Sort(users)
	var all []DrillStarted
	for _, u := range slices.Compact(users) {
		s, err := d.start(ctx, p, u, w, request)
		if err != nil {
			return all, err
		}
		all = append(all, s)
		d.log.InfoContext(ctx, "a drill was asked for", "user", u, "actor", w.Actor, "via", w.Via, "job", w.Job, "incident", s.Number, "refused", s.Refused)
	}
	return all, nil
}

func (d *Drills) start(ctx context.Context, p oncall.Policy, user string, w DrillWish, request string) (DrillStarted, error) {
	out := DrillStarted{User: user}
	now := stored(time.Now())
	change, place, drill, err := oncall.DrillOpening{User: user, Actor: w.Actor, Via: w.Via, Job: w.Job}.Open(now, p)
	if err != nil {
		out.Refused = err.Error()
		return out, nil
	}
	if out.Refused, err = d.notNow(ctx, p, user, w, place, now); err != nil || out.Refused != "" {
		out.Later = true
		return out, err
	}
	if request != "" {
		request = "drill " + request + " " + user
	}
	number, opened, err := d.o.Store.OpenIncident(ctx, oncall.Write{Now: now, Request: request, Urgent: true}, place,
		func(in oncall.Incident) (oncall.Decision, error) {
			in.Drill = drill
			return decide(now, in, oncall.AlertsChanged{Changes: []oncall.AlertChange{change}}, p)
		})
	switch {
	case errors.Is(err, oncall.ErrRequestSeen):
		out.Number, err = d.o.Store.IncidentAt(ctx, place)
	case err == nil && !opened:
		out.Refused, out.Later = fmt.Sprintf("a drill of %s is under way: #%d", user, number), true
	default:
		out.Number = number
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		d.log.ErrorContext(ctx, "a drill failed by a defect", "user", user, "err", p, "stack", p.stack)
		err = oncall.Errorf(oncall.CodeInternal, "the drill could not be begun, by a defect of tocsin; nothing was changed")
	}
	return out, err
}

// notNow says why a user is not to be drilled at this moment, "" where nothing is against it.
func (d *Drills) notNow(ctx context.Context, p oncall.Policy, user string, w DrillWish, place oncall.Place, now time.Time) (string, error) {
	if u := p.Users[user]; w.Daytime {
		if at := u.Awake(now, now.Add(oncall.JobLate)); at.After(now) {
			loc := cmp.Or(u.Location, time.UTC)
			return fmt.Sprintf("it is %s for %s: not their daytime", now.In(loc).Format("15:04 MST"), user), nil
		}
	}
	number, err := d.o.Store.IncidentAt(ctx, place)
	if err != nil && oncall.ErrorCode(err) != oncall.CodeNotFound {
		return "", err
	}
	if err == nil {
		last, err := d.o.Store.Incident(ctx, number)
		if err != nil && oncall.ErrorCode(err) != oncall.CodeNotFound {
			return "", err
		}
		if err == nil && !last.Open() && now.Sub(last.TriggeredAt) < drillPause {
			return fmt.Sprintf("%s was drilled less than a minute ago, by #%d", user, number), nil
		}
	}
	if w.Job == "" {
		return "", nil
	}
	open, err := openIncidents(ctx, d.o.Store)
	if err != nil {
		return "", err
	}
	for _, in := range open {
		if concerns(in, user) {
			return fmt.Sprintf("%s is in the incident #%d", user, in.Number), nil
		}
	}
	return "", nil
}

// concerns reports whether a user was told of an incident, or has it.
func concerns(in oncall.Incident, user string) bool {
	return in.AcknowledgedBy == user || in.Assignee == user ||
		slices.ContainsFunc(in.Told, func(t oncall.Told) bool { return t.User == user }) ||
		slices.ContainsFunc(in.Responders, func(r oncall.Responder) bool { return r.User == user })
}

// List returns drills, newest first. before is a number that those listed are below, 0 for none.
func (d *Drills) List(ctx context.Context, before int64, limit int) ([]oncall.Incident, error) {
	return d.o.Store.Incidents(ctx, oncall.IncidentFilter{Drills: true, Before: before, Limit: limit})
}

// Drill returns one drill, or not_found.
func (d *Drills) Drill(ctx context.Context, number int64) (oncall.Incident, error) {
	in, err := d.o.Store.Incident(ctx, number)
	if oncall.ErrorCode(err) == oncall.CodeNotFound || err == nil && in.Drill == nil {
		return in, oncall.Errorf(oncall.CodeNotFound, "there is no drill #%d", number)
	}
	return in, err
}

// Checks returns what the latest drills found out about the contacts that the configuration has now.
func (d *Drills) Checks(ctx context.Context) ([]oncall.ContactCheck, error) {
	all, err := d.o.Store.ContactChecks(ctx)
	p := d.o.Policy()
	return slices.DeleteFunc(all, func(c oncall.ContactCheck) bool { return !p.Holds(c) }), err
}

// checkMetrics shows what the latest drills found out, when it is asked.
type checkMetrics struct{ d *Drills }

var checkDesc = prometheus.NewDesc("tocsin_contact_last_drill_success",
	"Whether the latest drill reached a user by an endpoint (1) or not (0).", []string{"user", "contact"}, nil)

// Describe implements prometheus.Collector.
func (c *checkMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- checkDesc }

// Collect implements prometheus.Collector.
func (c *checkMetrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	all, err := c.d.Checks(ctx)
	if err != nil {
		c.d.log.Warn("What drills found out is not known", "err", err)
		return
	}
	for _, x := range all {
		value := 0.0
		if x.Result == oncall.CheckOK {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(checkDesc, prometheus.GaugeValue, value, x.User, string(x.Endpoint))
	}
}
