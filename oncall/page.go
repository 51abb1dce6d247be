package oncall

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// MaxPage bounds the body of a page, in bytes (Standard Webhooks asks for less than 20 KB).
const MaxPage = 20_000

// PageVersion is the version of the payload: within it fields are added, and none is taken away or changes its meaning.
const PageVersion = "1"

// Page is the payload of a paging webhook (docs/page.schema.json): Standard Webhooks' envelope around the
// incident as the own API shows it.
type Page struct {
	Type      string    `json:"type"` // "incident." + DeliveryKind
	Timestamp time.Time `json:"timestamp"`
	Version   string    `json:"version"` // PageVersion
	Data      PageData  `json:"data"`
}

// PageData is an incident, shortened where it must be, and what this page is about.
type PageData struct {
	IncidentView
	Page PageInfo `json:"page"`
}

// PageInfo says which page of the incident this is. AckURL acknowledges by POST and shows a page that asks
// by GET; it is valid until the incident ends.
type PageInfo struct {
	Tier   int    `json:"tier"`
	Round  int    `json:"round"`
	Target string `json:"target"`
	Via    string `json:"via,omitempty"` // how a user came to be told: by which schedule, until when
	AckURL string `json:"ack_url"`
	Test   bool   `json:"test,omitempty"` // nothing is wrong: somebody tries whether pages arrive
	Note   string `json:"note,omitempty"` // of a test, by whoever sent it
	// Bundle is what the page goes for beside this incident; AckURL then acknowledges all of it that asks. nil: for this one.
	Bundle *PageBundle `json:"bundle,omitempty"`
}

// freezePages writes the bodies of the decision's pages from the incident as decided.
func (m *machine) freezePages() {
	if len(m.pages) == 0 {
		return
	}
	in := m.in
	in.Timeline = append(in.Timeline[:len(in.Timeline):len(in.Timeline)], m.d.Timeline...)
	view := View(in, m.p.ExternalURL)
	for _, i := range m.pages {
		d := &m.d.Deliveries[i]
		p := Page{Type: "incident." + string(d.Kind), Timestamp: m.now.UTC(), Version: PageVersion, Data: PageData{
			IncidentView: view,
			Page: PageInfo{
				Tier: d.Tier, Round: d.Round, Target: d.Target, Via: m.vias[d.Key], Test: m.in.Drill != nil, AckURL: m.p.AckURL(d.Key),
			},
		}}
		d.Body = fitPage(p)
	}
}

// fitPage marshals the page, leaving out more of its lists and texts until it fits. The counts stay exact.
func fitPage(p Page) []byte {
	full := p.Data.IncidentView
	for _, limit := range []struct{ alerts, timeline, deliveries, text int }{
		{20, 20, 20, 2000}, {10, 10, 5, 1000}, {5, 5, 0, 400}, {2, 2, 0, 200}, {1, 0, 0, 100}, {0, 0, 0, 60},
	} {
		v := full
		v.Labels = shortLabels(v.Labels, limit.text)
		v.GroupLabels = shortLabels(v.GroupLabels, limit.text)
		v.Alerts = make([]IncidentAlert, 0, limit.alerts)
		for _, a := range full.Alerts[:min(limit.alerts, len(full.Alerts))] {
			v.Alerts = append(v.Alerts, shortAlert(a, limit.text))
		}
		v.Timeline = full.Timeline[max(0, len(full.Timeline)-limit.timeline):]
		v.Deliveries = full.Deliveries[max(0, len(full.Deliveries)-limit.deliveries):]
		p.Data.IncidentView = v
		if b := marshalPage(p); len(b) < MaxPage {
			return b
		}
	}
	p.Data.Labels, p.Data.GroupLabels = labels.EmptyLabels(), labels.EmptyLabels()
	return marshalPage(p)
}

func marshalPage(p Page) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(p); err != nil {
		panic(err) // labels, strings and times always marshal
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

func shortAlert(a IncidentAlert, n int) IncidentAlert {
	a.Labels = shortLabels(a.Labels, n)
	a.Evidence.Metric = shortLabels(a.Evidence.Metric, n)
	a.Evidence.Expr = truncate(a.Evidence.Expr, n)
	a.Reason, a.MutedWhy = truncate(a.Reason, n), truncate(a.MutedWhy, n)
	if len(a.GeneratorURL) > 4*n {
		a.GeneratorURL = "" // a cut link is worse than none
	}
	if len(a.Annotations) > 0 {
		short := make(map[string]string, len(a.Annotations))
		for k, v := range a.Annotations {
			short[truncate(k, n)] = truncate(v, n)
		}
		a.Annotations = short
	}
	return a
}

func shortLabels(ls labels.Labels, n int) labels.Labels {
	b := labels.NewScratchBuilder(ls.Len())
	ls.Range(func(l labels.Label) { b.Add(truncate(l.Name, n), truncate(l.Value, n)) })
	b.Sort()
	return b.Labels()
}
