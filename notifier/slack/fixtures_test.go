package slack

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"

	"tocsin/notifier"
	"tocsin/oncall"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// t0 is when the outage of the fixtures begins.
var t0 = time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)

func testPolicy() oncall.Policy {
	return oncall.Policy{
		ExternalURL: "https://tocsin.example",
		Escalations: map[string]oncall.Escalation{"session-oncall": testEscalation()},
		Users: map[string]oncall.User{
			"ana": {Name: "ana", Slack: "U02ANA", Contacts: []oncall.Contact{{Slack: "dm"}, {After: 2 * time.Minute, Receiver: "ana-phone"}}},
			"bo":  {Name: "bo", Slack: "U03BO", Contacts: []oncall.Contact{{Slack: "dm"}}},
		},
		Receivers: map[string]oncall.Receiver{"ana-phone": {Name: "ana-phone", Endpoints: []oncall.Endpoint{oncall.PageEndpoint("ana-phone", 0)}}},
	}
}

func testEscalation() oncall.Escalation {
	return oncall.Escalation{
		Name: "session-oncall", GroupBy: []string{"service"}, AckTimeout: 30 * time.Minute,
		Tiers: []oncall.Tier{
			{Targets: []oncall.Target{{Kind: oncall.TargetSlack, Name: "#session-alerts"}}},
			{After: 5 * time.Minute, Targets: []oncall.Target{{Kind: oncall.TargetUser, Name: "ana"}}},
			{After: 10 * time.Minute, Targets: []oncall.Target{{Kind: oncall.TargetUser, Name: "bo"}}},
		},
	}
}

// fire returns changes that make n alerts fire.
func fire(n int, at time.Time) []oncall.AlertChange {
	var out []oncall.AlertChange
	for i := range n {
		ls := labels.FromStrings("alertname", "SessionMemoryHigh", "service", "session", "severity", "critical", "instance", fmt.Sprintf("session-%d:9100", i+1))
		out = append(out, oncall.AlertChange{
			At: at, Source: "rule:memory", Status: oncall.ChangeFiring, Labels: ls, StartsAt: at.Add(time.Duration(i) * time.Second), Value: "0.8312499999",
			Annotations: map[string]string{
				"summary":     fmt.Sprintf("Session memory at 83.12%% on session-%d:9100", i+1),
				"runbook_url": "https://runbooks.example/session?a=1&b=2",
			},
			GeneratorURL: "https://prometheus.example/graph?g0.expr=session_memory_bytes+%2F+session_memory_limit_bytes+%3E+0.8",
			Escalation:   "session-oncall", Reason: "above the threshold for 2m",
		})
	}
	return out
}

// open lets the core open an incident with the given changes.
func open(number int64, now time.Time, changes []oncall.AlertChange) oncall.Incident {
	place := oncall.PlaceAlert(changes[0], testPolicy())
	in := oncall.Incident{Number: number, Key: fmt.Sprintf("inc-%d", number), Escalation: place.Escalation, GroupKey: place.GroupKey,
		GroupLabels: place.GroupLabels, Why: place.Why}
	return apply(in, oncall.Decide(now, in, oncall.AlertsChanged{Changes: changes}, testPolicy()), now)
}

// apply keeps a decision as the store does, and lets every new delivery arrive.
func apply(in oncall.Incident, d oncall.Decision, now time.Time) oncall.Incident {
	if !d.Changed {
		return in
	}
	next := d.Incident
	next.Alerts, next.Deliveries = slices.Clone(in.Alerts), slices.Clone(in.Deliveries)
	next.Timeline = append(slices.Clone(in.Timeline), d.Timeline...)
	for _, a := range d.Alerts {
		i := slices.IndexFunc(next.Alerts, func(b oncall.IncidentAlert) bool { return b.Fingerprint == a.Fingerprint })
		if i < 0 {
			next.Alerts = append(next.Alerts, a)
		} else {
			next.Alerts[i] = a
		}
	}
	for _, dl := range d.Deliveries {
		if dl.Kind != oncall.KindEdit {
			dl.State, dl.DoneAt = oncall.DeliveryDelivered, now
			next.Deliveries = append(next.Deliveries, dl)
		}
	}
	return next
}

// step applies one event.
func step(in oncall.Incident, now time.Time, ev oncall.Event) oncall.Incident {
	return apply(in, oncall.Decide(now, in, ev, testPolicy()), now)
}

// acts is what the notifier's Acts is to the adapter: the real core over a map.
type acts struct {
	mu        sync.Mutex
	incidents map[int64]oncall.Incident
	seen      map[string]bool
	done      []oncall.Command // committed, in order
	silenced  []oncall.Silence // set, in order
	fail      error            // returned instead of working
	seenErr   bool             // a request seen before is an error, not a reply
	hang      bool             // Act waits for its context to end
	policy    func() oncall.Policy
	slow      time.Duration // Act takes so long
}

func newActs(ins ...oncall.Incident) *acts {
	a := &acts{incidents: map[int64]oncall.Incident{}, seen: map[string]bool{}, policy: testPolicy}
	for _, in := range ins {
		a.incidents[in.Number] = in
	}
	return a
}

// set changes how it behaves from now on.
func (a *acts) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *acts) Act(ctx context.Context, number int64, c oncall.Command, request string) (oncall.Decision, error) {
	a.mu.Lock()
	hang, slow := a.hang, a.slow
	a.mu.Unlock()
	if slow > 0 {
		<-time.After(slow) // the bubble's time
	}
	if hang {
		<-ctx.Done()
		return oncall.Decision{}, ctx.Err()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		return oncall.Decision{}, a.fail
	}
	in, ok := a.incidents[number]
	if request == "" || a.seen[request] {
		if a.seenErr {
			return oncall.Decision{}, oncall.ErrRequestSeen
		}
		return oncall.Decision{Incident: in, Reply: notifier.AlreadyDone}, nil
	}
	if !ok {
		return oncall.Decision{}, oncall.Errorf(oncall.CodeNotFound, "there is no incident #%d", number)
	}
	d := oncall.Decide(time.Now(), in, c, a.policy())
	a.seen[request] = true
	if d.Changed {
		a.done = append(a.done, c)
		a.incidents[number] = apply(in, d, time.Now())
	}
	return d, nil
}

func (a *acts) Incident(_ context.Context, number int64) (oncall.Incident, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	in, ok := a.incidents[number]
	if !ok {
		return in, oncall.Errorf(oncall.CodeNotFound, "there is no incident #%d", number)
	}
	return in, nil
}

func (a *acts) Incidents(_ context.Context, f oncall.IncidentFilter) ([]oncall.Incident, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		return nil, a.fail
	}
	var out []oncall.Incident
	for _, in := range a.incidents {
		if (len(f.States) == 0 || slices.Contains(f.States, in.State)) && (f.Before == 0 || in.Number < f.Before) {
			out = append(out, in)
		}
	}
	slices.SortFunc(out, func(x, y oncall.Incident) int { return int(y.Number - x.Number) })
	if limit := f.Limit; limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out, nil
}

func (a *acts) Why(ctx context.Context, number int64) (string, error) {
	in, err := a.Incident(ctx, number)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "#%d went to %s: %s\n", in.Number, in.Escalation, in.Why)
	for _, e := range in.Timeline {
		fmt.Fprintf(&b, "%s %s `code` <!channel>\n", e.At.UTC().Format("15:04:05"), e.Text)
	}
	return b.String(), nil
}

func (a *acts) Silence(ctx context.Context, number int64, w oncall.SilenceWish, request string) (notifier.Silenced, error) {
	if a.hang {
		<-ctx.Done()
		return notifier.Silenced{}, ctx.Err()
	}
	in, err := a.Incident(ctx, number)
	if err != nil {
		return notifier.Silenced{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		return notifier.Silenced{}, a.fail
	}
	if request == "" || a.seen[request] {
		return notifier.Silenced{Incident: in, Reply: notifier.AlreadyDone}, nil
	}
	s, err := oncall.SilenceOf(in, w, time.Now())
	if err != nil {
		return notifier.Silenced{}, err
	}
	a.seen[request] = true
	a.silenced = append(a.silenced, s)
	a.incidents[number] = apply(in, oncall.Decide(time.Now(), in, oncall.SilencedNote(s, w.Via), testPolicy()), time.Now())
	return notifier.Silenced{Silence: s, Incident: in, Reply: fmt.Sprintf("#%d is silenced: all alerts with %s", number, s.Matchers)}, nil
}

// silences returns what was silenced: for how long, by whom, why.
func (a *acts) silences() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, s := range a.silenced {
		out = append(out, fmt.Sprintf("#%d %s %s %s: %s", s.Incident, s.EndsAt.Sub(s.StartsAt), s.Matchers, s.CreatedBy, s.Comment))
	}
	return out
}

func (a *acts) committed() []oncall.Command {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.done)
}
