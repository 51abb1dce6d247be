package e2etest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/oncall"
	"tocsin/store"
)

// arrivals is a pager that answers at once and remembers when each tier of each incident first arrived. It looks at
// no more than it must: it shares the cores with what is measured.
type arrivals struct {
	mu    sync.Mutex
	first map[arrival]time.Time
	pages int
}

// arrival is one tier of one incident.
type arrival struct {
	about string // the label instance of the incident
	tier  int
}

var (
	pagedInstance = regexp.MustCompile(`"group_labels":\{[^}]*"instance":"([^"]+)"`)
	pagedTier     = regexp.MustCompile(`"page":\{"tier":(\d+)`)
)

func (a *arrivals) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	now := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	rw.WriteHeader(http.StatusNoContent)
	instance, tier := pagedInstance.FindSubmatch(body), pagedTier.FindSubmatch(body)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pages++
	if instance == nil || tier == nil || !bytes.HasPrefix(body, []byte(`{"type":"incident.triggered"`)) {
		return
	}
	n, _ := strconv.Atoi(string(tier[1]))
	key := arrival{string(instance[1]), n}
	if _, ok := a.first[key]; !ok {
		a.first[key] = now
	}
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pages
}

func (a *arrivals) told() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.first)
}

func newArrivals(t testing.TB) (*arrivals, string) {
	a := &arrivals{first: map[arrival]time.Time{}}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	return a, server.URL
}

// teamsConfig has teams with an escalation, a person and a pager each. Every incident tells three tiers, and again.
func teamsConfig(teams int, pager string) string {
	var users, receivers, routes, escalations strings.Builder
	for i := range teams {
		fmt.Fprintf(&users, "- {name: u%d, contacts: [{receiver: p%d}]}\n", i, i)
		fmt.Fprintf(&receivers, "- {name: p%d, page_configs: [{url: '%s/p%d', secret_file: page}]}\n- {name: t%d, escalation: e%d}\n", i, pager, i, i, i)
		fmt.Fprintf(&routes, "  - {matchers: [team=t%d], receiver: t%d}\n", i, i)
		fmt.Fprintf(&escalations, "- {name: e%d, group_by: [alertname, instance], repeat: {every: 6h, times: 3}, tiers: [{user: u%d}, {after: 10m, user: u%d}, {after: 2h, schedule: s}]}\n",
			i, i, (i+1)%teams)
	}
	return "route:\n  receiver: t0\n  routes:\n" + routes.String() + "receivers:\n" + receivers.String() + "users:\n" + users.String() +
		"schedules:\n- {name: s, time_zone: Europe/Madrid, layers: [{users: [u0, u1, u2], start: 2026-01-05, handoff: '0 9 * * MON'}]}\n" +
		"escalations:\n" + escalations.String()
}

// BenchmarkTriggered10k: 10,000 alerts are posted within about a second, as Prometheus posts them; each opens an
// incident of its own. late is from the beginning of the post until the first attempt to page for the incident, alone or
// with others, at one of 100 people's pagers.
func BenchmarkTriggered10k(b *testing.B) {
	const incidents, teams = 10_000, 100
	for range b.N {
		far, url := newArrivals(b)
		d := prepare(b, ours(), "", teamsConfig(teams, url))
		d.write("page", pageSecret)
		d.start()
		pid := d.proc.Process.Pid
		cpu, began := cpuSeconds(b, pid), time.Now()
		posted := postIncidents(b, d, incidents, teams)
		ingest := time.Since(began)
		if !until(2*time.Minute, func() bool {
			return d.metric("tocsin_store_open_incidents") >= incidents && d.metric("tocsin_store_unfinished_deliveries") == 0
		}) {
			b.Errorf("%.0f incidents are open, %.0f deliveries are left", d.metric("tocsin_store_open_incidents"), d.metric("tocsin_store_unfinished_deliveries"))
		}
		took := time.Since(began)
		b.ReportMetric(float64(ingest.Milliseconds()), "post-ms")
		b.ReportMetric(float64(took.Milliseconds()), "all-done-ms")
		b.ReportMetric((cpuSeconds(b, pid)-cpu)*1000/incidents, "cpu-ms/incident")
		b.ReportMetric(peakMB(b, pid), "peak-MB")
		b.ReportMetric(float64(far.count()), "pages")
		d.kill()
		reportLate(b, firstAttempts(b, d, incidents, posted))
	}
	b.ReportMetric(0, "ns/op")
}

// metric is the value of a metric without labels, NaN where nothing answers: a store that is busy may leave its own out.
func (d *daemon) metric(name string) float64 {
	<-time.After(100 * time.Millisecond) // whoever asks again and again has something better to measure
	_, text := d.call(http.MethodGet, "/metrics", nil)
	_, rest, _ := strings.Cut(string(text), "\n"+name+" ")
	line, _, _ := strings.Cut(rest, "\n")
	v, err := strconv.ParseFloat(line, 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

// firstAttempts reads from the database of a tocsin that has ended when each incident was first paged for.
func firstAttempts(b *testing.B, d *daemon, incidents int, posted map[string]time.Time) (late []time.Duration) {
	b.Helper()
	s, err := store.OpenSQLite(context.Background(), filepath.Join(d.dir, "data"), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a benchmark's
	for number := range incidents {
		in, err := s.Incident(context.Background(), int64(number+1))
		if err != nil {
			b.Fatal(err)
		}
		for _, x := range in.Deliveries {
			if x.Kind == oncall.KindTriggered && x.Tier == 0 && !x.FirstAttemptAt.IsZero() {
				late = append(late, x.FirstAttemptAt.Sub(posted[in.GroupLabels.Get("instance")]))
			}
		}
	}
	if len(late) != incidents {
		b.Errorf("%d of %d incidents were paged for", len(late), incidents)
	}
	return late
}

// reportLate reports the p50, p99 and maximum in milliseconds.
func reportLate(b *testing.B, late []time.Duration) {
	if len(late) == 0 {
		b.Error("nothing was late or in time: nothing came")
		return
	}
	slices.Sort(late)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(late[len(late)/2]), "p50-late-ms")
	b.ReportMetric(ms(late[len(late)*99/100]), "p99-late-ms")
	b.ReportMetric(ms(late[len(late)-1]), "max-late-ms")
}

// postIncidents posts one alert for each incident, by several posters in batches, and returns when each was posted first.
// What is not taken is posted again, as Prometheus does.
func postIncidents(b *testing.B, d *daemon, incidents, teams int) map[string]time.Time {
	const posters, batch = 16, 625
	var mu sync.Mutex
	posted := map[string]time.Time{}
	var wg sync.WaitGroup
	for poster := range posters {
		wg.Go(func() {
			first, last := incidents*poster/posters, incidents*(poster+1)/posters
			for from := first; from < last; from += batch {
				var body []map[string]any
				at := time.Now()
				mu.Lock()
				for i := from; i < min(from+batch, last); i++ {
					instance := fmt.Sprintf("host-%d.shop.example:9100", i)
					posted[instance] = at
					body = append(body, map[string]any{
						"labels": map[string]string{"alertname": "Storm", "instance": instance, "severity": "critical", "cluster": "shop-1",
							"team": fmt.Sprintf("t%d", i%teams)},
						"annotations": map[string]string{"summary": fmt.Sprintf("Storm on host-%d, for some time already", i), "runbook_url": "https://runbooks.example/storm"},
						"startsAt":    at, "endsAt": at.Add(10 * time.Minute), "generatorURL": "http://prometheus.example/graph?g0.expr=storm",
					})
				}
				mu.Unlock()
				for try := 1; ; try++ {
					code, answer := d.call(http.MethodPost, "/api/v2/alerts", body)
					if code == http.StatusOK {
						break
					}
					if b.Logf("try %d: HTTP %d %s", try, code, answer); try == 5 {
						b.Error("alerts are not taken")
						return
					}
				}
			}
		})
	}
	wg.Wait()
	return posted
}
