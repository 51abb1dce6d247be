package demo

import (
	"bytes"
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"html/template"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	plot "tocsin/notifier/chart"
	"tocsin/notifier/slack"
	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// The messages are looked at as pages: go test ./demo -run TestPictures -pictures DIR writes one for each case, for a
// browser of 390 pixels, and docs/pictures holds what one showed.
var pictures = flag.String("pictures", "", "a directory that the pages of the messages are written to")

const memoryRatio = "session_memory_bytes / session_memory_limit_bytes"

// slackPlace is Slack, and tocsin's adapter that writes into it.
type slackPlace struct {
	slack   *slacktest.Server
	adapter *slack.Adapter
}

// pictureSeries is memory that leaks, and is taken back where the incident ends.
type pictureSeries struct {
	began float64 // at outageStart
	until time.Time
}

func (s pictureSeries) Series(_ context.Context, _ oncall.Evidence, _ string, from, to time.Time, step time.Duration) ([]plot.Series, error) {
	var out []plot.Series
	for i, slope := range []float64{0.16, 0.13} {
		x := plot.Series{Labels: labels.FromStrings("instance", fmt.Sprintf("session-%d:9100", i+1))}
		for at := from; !at.After(to); at = at.Add(step) {
			v := s.began - 0.1*float64(i) + slope*at.Sub(outageStart).Hours() + 0.002*math.Sin(at.Sub(from).Minutes())
			if !s.until.IsZero() && at.After(s.until.Add(-2*time.Minute)) {
				v = 0.22
			}
			x.Points = append(x.Points, plot.Point{At: at, Value: v})
		}
		out = append(out, x)
	}
	return out, nil
}

func picturePolicy() oncall.Policy {
	madrid, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		panic(err)
	}
	user := func(name, id string) oncall.User {
		return oncall.User{Name: name, Slack: id, TimeZone: "Europe/Madrid", Location: madrid, Contacts: []oncall.Contact{{Slack: "dm"}}}
	}
	return oncall.Policy{
		ExternalURL: "https://tocsin.shop.example", Users: map[string]oncall.User{"ana": user("ana", "U02ANA"), "bo": user("bo", "U03BO")},
		Escalations: map[string]oncall.Escalation{"session-oncall": {
			Name: "session-oncall", GroupBy: []string{"service"}, AckTimeout: 30 * time.Minute,
			Tiers: []oncall.Tier{
				{Targets: []oncall.Target{{Kind: oncall.TargetSlack, Name: channelName}}},
				{After: 2 * time.Minute, Targets: []oncall.Target{{Kind: oncall.TargetUser, Name: "ana"}}},
				{After: 10 * time.Minute, Targets: []oncall.Target{{Kind: oncall.TargetUser, Name: "bo"}}},
			},
		}},
	}
}

// alerts are n changes that fire at once.
func pictureAlerts(n int, change func(int, *oncall.AlertChange)) []oncall.AlertChange {
	var out []oncall.AlertChange
	for i := range n {
		instance := fmt.Sprintf("session-%d:9100", i+1)
		c := oncall.AlertChange{
			At: outageStart, Source: "rule:memory", Status: oncall.ChangeFiring, StartsAt: outageStart, Value: fmt.Sprintf("0.8%02d", (6+7*i)%100),
			Labels: labels.FromStrings("alertname", "SessionMemoryHigh", "service", "session", "severity", "critical", "instance", instance, "region", "eu-1"),
			Annotations: map[string]string{"summary": "Session memory high on " + instance + ": its limit of 2 GiB is reached at 14:06",
				"runbook_url": "https://runbooks.shop.example/session#memory"},
			GeneratorURL: "https://prometheus.shop.example/graph?g0.expr=x", Escalation: "session-oncall", Reason: "above the threshold for 2m",
			Evidence: oncall.Evidence{Group: "session", Expr: memoryRatio + " > 0.8", Backend: "prometheus", For: 2 * time.Minute, Metric: labels.FromStrings("instance", instance)},
		}
		if change != nil {
			change(i, &c)
		}
		out = append(out, c)
	}
	return out
}

// scene is one picture: how the incident came to be what it is, and when it is looked at.
type scene struct {
	alerts []oncall.AlertChange
	steps  []oncall.Event
	at     []time.Duration // of each step, after the trigger
	began  float64         // for a chart: the memory at the trigger
}

func scenes() map[string]scene {
	tick := oncall.Tick{}
	over := pictureAlerts(1, func(_ int, c *oncall.AlertChange) {
		c.Status, c.At, c.Reason = oncall.ChangeResolved, outageStart.Add(17*time.Minute), "below the threshold"
	})
	ack := oncall.Command{Kind: oncall.CmdAcknowledge, Actor: "ana", Via: "slack"}
	return map[string]scene{
		"one":          {alerts: pictureAlerts(1, nil)},
		"300":          {alerts: pictureAlerts(300, nil)},
		"acknowledged": {alerts: pictureAlerts(1, nil), steps: []oncall.Event{tick, ack}, at: []time.Duration{2 * time.Minute, 3 * time.Minute}},
		"escalated":    {alerts: pictureAlerts(2, nil), steps: []oncall.Event{tick, tick}, at: []time.Duration{2 * time.Minute, 10 * time.Minute}},
		"resolved": {alerts: pictureAlerts(1, nil), steps: []oncall.Event{tick, ack, oncall.AlertsChanged{Changes: over}},
			at: []time.Duration{2 * time.Minute, 3 * time.Minute, 17 * time.Minute}, began: 0.806},
		"leak": {alerts: pictureAlerts(1, func(_ int, c *oncall.AlertChange) {
			c.Labels = labels.FromStrings("alertname", "SessionMemoryLeak", "service", "session", "severity", "warning", "instance", "session-1:9100", "region", "eu-1")
			c.Annotations["summary"] = "Memory of session-1:9100 leaks: at this pace it is full within 2 hours"
			c.Value, c.Evidence.Expr = "1.023", "predict_linear(session_memory_bytes[1h], 2 * 3600) / session_memory_limit_bytes > 1"
		}), began: 0.703},
		"long": {alerts: pictureAlerts(3, func(i int, c *oncall.AlertChange) {
			c.Labels = labels.FromStrings("alertname", "ذاكرة_الجلسات_مرتفعة", "service", "خدمة الجلسات", "severity", "critical", "cluster", strings.Repeat("very-long-cluster-name-", 9),
				"instance", fmt.Sprintf("%s%d<!channel>@here:9100", strings.Repeat("pod-with-a-name-that-goes-on-", 3), i), "zone", []string{"تل أبيب", "הצפון", "eu\u202e\u200b-1"}[i])
			c.Annotations["summary"] = "ذاكرة خدمة الجلسات عند 83% <!channel> وهي تزداد باستمرار منذ الصباح، والحد هو 2 GiB"
			c.Annotations["description"] = "*bold* _it_ `code` " + strings.Repeat("a long description that somebody wrote at length and nobody shortened, ", 12)
		})},
	}
}

// instant is what a scene has come to after one of its steps.
type instant struct {
	at   time.Time
	in   oncall.Incident
	said []oncall.Delivery // what was decided there
}

// play lets the core live the scene, as a store keeps it.
func (s scene) play() []instant {
	p := picturePolicy()
	place := oncall.PlaceAlert(s.alerts[0], p)
	in := oncall.Incident{Number: 42, Key: "inc-42", Escalation: place.Escalation, GroupKey: place.GroupKey, GroupLabels: place.GroupLabels, Why: place.Why}
	var all []instant
	step := func(now time.Time, ev oncall.Event) {
		d := oncall.Decide(now, in, ev, p)
		in = arrived(kept(in, d, now), now)
		all = append(all, instant{now, in, d.Deliveries})
	}
	step(outageStart, oncall.AlertsChanged{Changes: s.alerts})
	for i, ev := range s.steps {
		step(outageStart.Add(s.at[i]), ev)
	}
	return all
}

// arrived lets everything that asks for attention arrive.
func arrived(in oncall.Incident, now time.Time) oncall.Incident {
	for _, d := range in.Deliveries {
		in = kept(in, oncall.Decide(now, in, oncall.DeliveryFinished{Key: d.Key, State: oncall.DeliveryDelivered}, picturePolicy()), now)
	}
	return in
}

func kept(in oncall.Incident, d oncall.Decision, now time.Time) oncall.Incident {
	next := d.Incident
	next.Alerts, next.Deliveries = slices.Clone(in.Alerts), slices.Clone(in.Deliveries)
	for _, a := range d.Alerts {
		if i := slices.IndexFunc(next.Alerts, func(b oncall.IncidentAlert) bool { return b.Fingerprint == a.Fingerprint }); i >= 0 {
			next.Alerts[i] = a
		} else {
			next.Alerts = append(next.Alerts, a)
		}
	}
	for _, dl := range d.Deliveries {
		dl.State, dl.DoneAt = oncall.DeliveryDelivered, now
		next.Deliveries = append(next.Deliveries, dl)
	}
	return next
}

// send lets tocsin write the incident into Slack, each thing when it is decided: the message, the replies of its
// thread, the chart, and at last the message as it stands.
func (w slackPlace) send(t *testing.T, s scene, moments []instant) {
	t.Helper()
	to := oncall.SlackEndpoint(channelName)
	thread := ""
	do := func(in oncall.Incident, kind oncall.DeliveryKind, to oncall.Endpoint, body []byte) oncall.Attempt {
		a := w.adapter.Send(t.Context(), notifier.Message{Incident: in, Thread: thread,
			Delivery: oncall.Delivery{Key: "msg", Incident: in.Number, Endpoint: to, Kind: kind, Attempts: 1, Body: body}})
		if a.Outcome != oncall.OutcomeDelivered || a.Error != "" {
			t.Fatalf("%s: %+v", kind, a)
		}
		return a
	}
	for i, m := range moments {
		<-time.After(time.Until(m.at)) // the bubble's own time: messages are drawn at the present
		if i == 0 {
			thread = do(m.in, oncall.KindMessage, to, nil).Remote
		}
		for _, d := range m.said {
			if d.Kind == oncall.KindReply && d.Endpoint == to {
				do(m.in, oncall.KindReply, to, d.Body)
			}
		}
	}
	last := moments[len(moments)-1].in
	if len(moments) > 1 {
		do(last, oncall.KindEdit, to, nil)
	}
	if s.began > 0 {
		do(last, oncall.KindChart, oncall.ChartEndpoint(to), []byte("{}"))
	}
}

// TestPictures sends each scene to the strict fake, and shows what came of it.
func TestPictures(t *testing.T) {
	page, err := template.ParseFS(pageFiles, "page/regions.html")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range scenes() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				moments := s.play()
				w := slackPlace{slack: slacktest.New(slacktest.Options{Channels: []string{channelName}})}
				w.adapter = slack.New(slack.Config{BotToken: w.slack.Token(), SigningSecret: "x", APIURL: w.slack.APIURL()}, slack.Options{
					Series: pictureSeries{s.began, moments[len(moments)-1].in.ResolvedAt}, Policy: picturePolicy, Logger: slog.New(slog.DiscardHandler),
					HTTPClient: &http.Client{Transport: slacktest.Transport{"slack.test": w.slack}}})
				defer w.adapter.Close()
				w.send(t, s, moments)
				html := w.page(t, page)
				if !strings.Contains(html, "#42") || (s.began > 0) != strings.Contains(html, "data:image/png") {
					t.Errorf("the page lacks something:\n%s", html)
				}
				if *pictures != "" {
					if err := os.WriteFile(filepath.Join(*pictures, name+".html"), []byte(html), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}

// page shows the channel as a page that needs no server.
func (w slackPlace) page(t *testing.T, templates *template.Template) string {
	t.Helper()
	m := mrkdwn{clock: clock{began: storyStart, speed: 1}, users: map[string]string{}}
	b := bytes.NewBufferString(pictureHead(t))
	for _, msg := range w.slack.Messages(channelName) {
		if msg.ThreadTS != "" { // broadcast: it is in the thread below
			continue
		}
		p := m.post(msg)
		for _, reply := range w.slack.Thread(msg.Channel, msg.TS) {
			r := m.post(reply)
			for i, f := range reply.Files {
				r.Images[i].Src = template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(f.Data))
			}
			p.Replies = append(p.Replies, r)
		}
		if err := templates.ExecuteTemplate(b, "post", p); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// pictureHead is how a page begins that shows something of Slack's on a phone.
func pictureHead(t *testing.T) string {
	t.Helper()
	style, err := pageFiles.ReadFile("page/static/style.css")
	if err != nil {
		t.Fatal(err)
	}
	return `<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><style>` +
		string(style) + `html{background:var(--card)}body{padding:6px 0;max-width:390px;margin:0}</style>`
}
