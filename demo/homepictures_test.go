package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier/slack"
	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// homeScene is one picture of somebody's home: the incidents that are open, and the policy.
type homeScene struct {
	open   []oncall.Incident // newest first
	policy func(*oncall.Policy)
	shows  []string // parts of the page, in order
}

// homeActs answers with the incidents that are open; nothing is done in a picture.
type homeActs struct {
	slack.Acts
	open []oncall.Incident
}

func (a homeActs) Incidents(context.Context, oncall.IncidentFilter) ([]oncall.Incident, error) {
	return a.open, nil
}

// homeIncident is an open incident that began before the picture is taken.
func homeIncident(number int64, title string, ago time.Duration, change func(*oncall.Incident)) oncall.Incident {
	in := oncall.Incident{Number: number, Key: fmt.Sprintf("inc-%d", number), Escalation: "session-oncall", State: oncall.IncidentTriggered,
		Title: title, Severity: "critical", TriggeredAt: outageStart.Add(-ago), Round: 0}
	if change != nil {
		change(&in)
	}
	return in
}

// homeRota is a schedule that hands over every day at nine in Madrid, the first user being on call in the picture.
func homeRota(name string, users ...string) oncall.Schedule {
	madrid := picturePolicy().Users["ana"].Location
	start := time.Date(2024, 9, 23, 9, 0, 0, 0, madrid)
	line := make([][]string, len(users))
	for i, u := range users {
		line[i] = []string{u}
	}
	return oncall.Schedule{Name: name, TimeZone: madrid, Layers: []oncall.Layer{{Name: "rota", Rosters: []oncall.Roster{{
		From: start.AddDate(0, 0, -70), Users: line, Rotation: oncall.Rotation{Every: 7 * 24 * time.Hour, Anchor: start}}}}}}
}

func homePolicy(change func(*oncall.Policy), schedules ...oncall.Schedule) oncall.Policy {
	p := picturePolicy()
	p.LinkKey = []byte("0123456789abcdef0123456789abcdef")
	p.Schedules = map[string]oncall.Schedule{}
	for _, s := range schedules {
		p.Schedules[s.Name] = s
	}
	if change != nil {
		change(&p)
	}
	return p
}

func homeScenes() map[string]homeScene {
	told := func(in *oncall.Incident) { in.Told = []oncall.Told{{User: "ana"}} }
	two := []oncall.Incident{
		homeIncident(43, "Session memory high on session-2:9100: its limit of 2 GiB is reached at 14:06", 3*time.Minute, told),
		homeIncident(42, "Cart errors above 2% for 5 minutes", 26*time.Minute, func(in *oncall.Incident) {
			in.State, in.AcknowledgedBy, in.Severity = oncall.IncidentAcknowledged, "ana", "warning"
		}),
	}
	team := func(first ...string) func(*oncall.Policy) {
		return func(p *oncall.Policy) {
			s := homeRota("session-primary", first...)
			second := homeRota("session-secondary", "bo", "ana", "chen")
			p.Schedules[s.Name], p.Schedules[second.Name] = s, second
		}
	}
	var many []oncall.Incident
	for n := int64(30); n > 0; n-- {
		many = append(many, homeIncident(n, strings.Repeat("very_long_service_name-", 4)+"<!channel> *is* `broken` on "+strings.Repeat("pod-with-a-name-that-goes-on-", 5), time.Duration(40-n)*time.Minute, func(in *oncall.Incident) {
			if n%2 == 0 {
				told(in)
			}
			if n%3 == 0 {
				in.State, in.AcknowledgedBy = oncall.IncidentAcknowledged, "ana"
			}
			in.Severity = "critical-but-in-very-long-words-for-a-severity"
		}))
	}
	long := strings.Repeat("a-schedule-of-a-very-long-name-", 4)
	return map[string]homeScene{
		"home": {open: two, policy: team("ana", "bo", "chen"),
			shows: []string{"You are on call", "session-primary", "until <time>30 Sep", ", then bo", "Your open incidents: 2", "#43", "Acknowledge #43", "#42", "Who is on call", "Your next shifts", "session-secondary"}},
		"home-off": {open: []oncall.Incident{homeIncident(43, "Session memory high on session-2:9100", 3*time.Minute, func(in *oncall.Incident) { in.Told = []oncall.Told{{User: "bo"}} })},
			policy: team("bo", "ana", "chen"), shows: []string{"You are not on call", "Your next shift begins", "None is yours", "Waiting for somebody: 1", "#43"}},
		"home-empty": {shows: []string{"None is yours, and none waits", "has no schedule"}},
		"home-many": {open: many, policy: func(p *oncall.Policy) {
			s := homeRota(long, "ana", strings.Repeat("somebody-of-a-long-name-", 4), "bo")
			p.Schedules[s.Name] = s
		}},
		"home-rtl": {open: []oncall.Incident{homeIncident(43, "ذاكرة خدمة الجلسات عند 83% وهي تزداد باستمرار منذ الصباح، والحد هو 2 GiB", 3*time.Minute, told)},
			policy: func(p *oncall.Policy) {
				s := homeRota("جدول المناوبة", "ana", "محمد")
				p.Schedules[s.Name] = s
			}},
	}
}

// TestHomePictures publishes homes to the strict fake, and shows them as the messages are shown.
func TestHomePictures(t *testing.T) {
	page, err := template.ParseFS(pageFiles, "page/regions.html")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range homeScenes() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				<-time.After(time.Until(outageStart)) // the bubble's own time
				client := slacktest.Transport{}
				far := slacktest.New(slacktest.Options{Client: &http.Client{Transport: client}, Users: []slacktest.User{{ID: "U02ANA", Name: "ana"}}})
				p := homePolicy(s.policy)
				a := slack.New(slack.Config{BotToken: far.Token(), SigningSecret: far.SigningSecret(), APIURL: far.APIURL()}, slack.Options{
					Acts: homeActs{open: s.open}, Policy: func() oncall.Policy { return p }, Logger: slog.New(slog.DiscardHandler),
					HTTPClient: &http.Client{Transport: slacktest.Transport{"slack.test": far}}})
				defer a.Close()
				client["tocsin.test"] = a.EventHandler()
				if _, err = far.OpenHome(t.Context(), "http://tocsin.test", "U02ANA"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				html := homePage(t, page, far.Home("U02ANA"))
				rest := html
				for _, part := range s.shows {
					_, after, ok := strings.Cut(rest, part)
					if !ok {
						t.Fatalf("%q is not in the home, or not after what comes before it:\n%s", part, html)
					}
					rest = after
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

// homePage shows a home as a page that needs no server.
func homePage(t *testing.T, templates *template.Template, raw json.RawMessage) string {
	t.Helper()
	var view struct{ Blocks json.RawMessage }
	if err := json.Unmarshal(raw, &view); err != nil {
		t.Fatal(err)
	}
	m := mrkdwn{clock: clock{began: storyStart, speed: 1}, users: map[string]string{}}
	var b bytes.Buffer
	b.WriteString(pictureHead(t))
	b.WriteString(`<style>.post > .section, .post > .actions { margin: 7px 0; } hr { border: 0; border-top: 1px solid var(--rule); margin: 12px 0 8px; }</style>`)
	if err := templates.ExecuteTemplate(&b, "post", post{From: "tocsin", Time: "Home", Blocks: m.blocks(view.Blocks)}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
