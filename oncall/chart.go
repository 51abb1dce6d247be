package oncall

import (
	"encoding/json"
	"slices"
	"time"
)

// KindChart is a picture in the thread of the incident's message: what its alerts were decided on. Body is a ChartWish.
// It waits in a queue of its own, asks for nobody's attention, and its failure means nothing to anybody's notification.
const KindChart DeliveryKind = "chart"

// ChartWish is the frozen body of a KindChart delivery.
type ChartWish struct {
	Ended bool      `json:"ended,omitempty"` // drawn once more because the incident is over
	At    time.Time `json:"at"`
}

// ChartEndpoint is where the charts in the threads of a Slack endpoint are queued: a queue of their own, so that a
// picture that is slow to be drawn or taken holds up no text.
func ChartEndpoint(slack Endpoint) Endpoint { return Endpoint("chart:" + slack.Address()) }

// ThreadOf is the endpoint in whose thread an endpoint's deliveries appear: itself, but for charts.
func (e Endpoint) ThreadOf() Endpoint {
	if e.Kind() == "chart" {
		return SlackEndpoint(e.Address())
	}
	return e
}

// A chart is tried for a little while; nobody waits for it.
const (
	chartAttempts = 4
	chartWithin   = 10 * time.Minute
)

// chartIsLost reports whether a chart that did not arrive is given up. One that may have been posted is not posted again.
func chartIsLost(now time.Time, d Delivery, a Attempt) bool {
	return a.Outcome == OutcomeUnknown || a.Number >= chartAttempts || now.Add(a.RetryAfter).Sub(d.CreatedAt) > chartWithin
}

// chartUnder asks for a chart once the incident's message is there. A message that stands for several incidents has the
// chart of the first of them, or none: a thread full of pictures helps nobody, and each incident's page has its own.
func (m *machine) chartUnder(key string) {
	d, ok := m.delivery(key)
	if !ok || d.Kind != KindMessage || d.Endpoint.Kind() != "slack" || d.Bundle != "" || !m.in.Open() || !m.chartable() {
		return
	}
	m.sendChart(d.Endpoint, false)
}

// chartsAtEnd asks for the charts once more, now that there is an end to be seen. One that still waits for its first
// attempt will show it anyway.
func (m *machine) chartsAtEnd() {
	if m.in.MergedInto != 0 || !m.chartable() {
		return
	}
	for _, t := range m.in.Told {
		at := ChartEndpoint(t.Endpoint)
		if t.Endpoint.Kind() != "slack" || t.Failed || !slices.ContainsFunc(m.in.Deliveries, func(d Delivery) bool {
			return d.Endpoint == at && d.Kind == KindChart && d.State != DeliveryDropped
		}) || slices.ContainsFunc(m.in.Deliveries, func(d Delivery) bool { return d.Endpoint == at && d.State == DeliveryQueued && d.Attempts == 0 }) {
			continue
		}
		m.sendChart(t.Endpoint, true)
	}
}

// chartable reports whether there may be something to draw: an alert that was evaluated here.
func (m *machine) chartable() bool {
	return m.p.Charts && slices.ContainsFunc(m.in.Alerts, func(a IncidentAlert) bool { return a.Evidence.Expr != "" })
}

func (m *machine) sendChart(to Endpoint, ended bool) {
	what := "opened"
	if ended {
		what = "ended"
	}
	key := DeliveryKey(m.in.Key, "chart", what, m.in.Reopens, to)
	if _, ok := m.delivery(key); ok {
		return // each once, however often the message is posted
	}
	body, err := json.Marshal(ChartWish{Ended: ended, At: m.now})
	if err != nil {
		panic(err) // a bool and a time always marshal
	}
	m.send(Delivery{
		Key: key, Endpoint: ChartEndpoint(to), Kind: KindChart, Round: m.in.Round, Tier: max(m.in.NextTier-1, 0), Priority: PriorityUpdate, Body: body,
	})
}
