package e2etest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkAlertmanagersPlace measures tocsin where Alertmanager would stand, and beside it Alertmanager 0.34
// itself, where PATH or ALERTMANAGER has one. alerts/s are posted by four posters in batches of 64, as Prometheus
// does, on the same cores. late is from the end of group_wait to the webhook, per group.
func BenchmarkAlertmanagersPlace(b *testing.B) {
	for _, p := range programs(b) {
		for _, s := range []struct {
			name           string
			alerts, groups int
			wait           time.Duration
			rules          int
		}{
			{"100k-alerts-1k-groups", 100_000, 1000, time.Second, 0},
			{"100k-alerts-10k-groups", 100_000, 10_000, time.Second, 0},
			{"10k-groups-at-once", 10_000, 10_000, 0, 0},
			{"10k-inhibit-rules", 10_000, 1000, time.Second, 10_000},
		} {
			b.Run(s.name+"/"+p.name, func(b *testing.B) {
				for range b.N {
					takePlace(b, p, s.alerts, s.groups, s.wait, s.rules)
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// firsts remembers when the first notification of each group arrived, and how many alerts were told.
type firsts struct {
	mu     sync.Mutex
	at     map[string]time.Time
	alerts int
	posts  int
}

func (f *firsts) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	now := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	var note struct {
		GroupLabels struct{ Grp string }
		Alerts      []struct{}
	}
	_ = json.Unmarshal(body, &note)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.posts++
	f.alerts += len(note.Alerts)
	if _, ok := f.at[note.GroupLabels.Grp]; !ok {
		f.at[note.GroupLabels.Grp] = now
	}
}

func (f *firsts) groups() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.at)
}

func takePlace(b *testing.B, p program, alerts, groups int, wait time.Duration, rules int) {
	told := &firsts{at: map[string]time.Time{}}
	hook := httptest.NewServer(told)
	defer hook.Close()
	d := newDaemon(b, p, placeConfig(hook.URL, wait, rules))
	defer d.kill()
	pid := d.proc.Process.Pid
	cpu := cpuSeconds(b, pid)
	began := time.Now()
	posted := postMany(b, d, alerts, groups)
	ingest := time.Since(began)
	if !until(2*time.Minute, func() bool { return told.groups() >= groups }) {
		b.Errorf("%d of %d groups were notified", told.groups(), groups)
		return
	}
	spent := cpuSeconds(b, pid) - cpu
	b.ReportMetric(float64(alerts)/ingest.Seconds(), "alerts/s")
	told.mu.Lock()
	var late []time.Duration
	for name, at := range told.at {
		late = append(late, at.Sub(posted[name])-wait)
	}
	b.ReportMetric(spent*1000/float64(told.posts), "cpu-ms/notification")
	told.mu.Unlock()
	slices.Sort(late)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(late[len(late)/2]), "p50-late-ms")
	b.ReportMetric(ms(late[len(late)*95/100]), "p95-late-ms")
	b.ReportMetric(ms(late[len(late)-1]), "max-late-ms")
	b.ReportMetric(spent, "cpu-s")

	if p.name == ours().name {
		b.ReportMetric(flushedInTime(b, d), "%flushes-within-100ms")
	}
	listing := time.Now()
	if code, body := d.call(http.MethodGet, "/api/v2/alerts", nil); code != http.StatusOK || bytes.Count(body, []byte(`"fingerprint"`)) != alerts {
		b.Errorf("the listing: HTTP %d, %d alerts", code, bytes.Count(body, []byte(`"fingerprint"`)))
	}
	b.ReportMetric(ms(time.Since(listing)), "listing-ms")
	<-time.After(35 * time.Second) // what is left to do after a storm, such as tocsin's checkpoint, is no rest
	cpu = cpuSeconds(b, pid)
	<-time.After(30 * time.Second) // three group_intervals
	b.ReportMetric(2*(cpuSeconds(b, pid)-cpu), "idle-cpu-s/min")
	b.ReportMetric(rssMB(b, pid), "rest-MB")
	b.ReportMetric(peakMB(b, pid), "peak-MB")
}

// flushedInTime returns how many in a hundred flushes were begun within 100 ms of their time.
func flushedInTime(b *testing.B, d *daemon) float64 {
	_, shown := d.call(http.MethodGet, "/metrics", nil)
	value := func(series string) (v float64) {
		_, rest, _ := strings.Cut(string(shown), "\ntocsin_dispatcher_flush_lateness_seconds_"+series+" ")
		if _, err := fmt.Sscan(rest, &v); err != nil {
			b.Errorf("flush lateness %s: %v", series, err)
		}
		return v
	}
	return 100 * value(`bucket{le="0.1"}`) / value("count")
}

func placeConfig(hook string, wait time.Duration, rules int) string {
	var c strings.Builder
	fmt.Fprintf(&c, "route: {receiver: hook, group_by: [grp], group_wait: %s, group_interval: 10s, repeat_interval: 12h}\n", wait)
	fmt.Fprintf(&c, "receivers: [{name: hook, webhook_configs: [{url: '%s'}]}]\n", hook)
	if rules > 0 {
		c.WriteString("inhibit_rules:\n")
	}
	for i := range rules {
		fmt.Fprintf(&c, "- {source_matchers: [team=\"t%d\", severity=critical], target_matchers: [team=\"t%d\", severity=warning], equal: [cluster]}\n", i, i)
	}
	return c.String()
}

// postMany posts the alerts, those of a group together, and returns when the first of each group was posted.
func postMany(b *testing.B, d *daemon, alerts, groups int) map[string]time.Time {
	const posters, batch = 4, 64
	began := time.Now()
	var mu sync.Mutex
	posted := map[string]time.Time{}
	var wg sync.WaitGroup
	for poster := range posters {
		wg.Go(func() {
			first, last := alerts*poster/posters, alerts*(poster+1)/posters
			for from := first; from < last; from += batch {
				var body []map[string]any
				at := time.Now()
				mu.Lock()
				for i := from; i < min(from+batch, last); i++ {
					grp := fmt.Sprintf("g%d", i*groups/alerts)
					if _, ok := posted[grp]; !ok {
						posted[grp] = at
					}
					body = append(body, map[string]any{
						"labels": map[string]string{"alertname": "Storm", "grp": grp, "seq": fmt.Sprint(i), "severity": "warning", "cluster": "shop-1",
							"team": fmt.Sprintf("t%d", i%20_000), "instance": fmt.Sprintf("host-%d.shop.example:9100", i%5000)},
						"annotations":  map[string]string{"summary": fmt.Sprintf("Storm on host-%d, for some time already", i), "runbook_url": "https://runbooks.example/storm"},
						"startsAt":     at,
						"endsAt":       began.Add(10 * time.Minute),
						"generatorURL": "http://prometheus.example/graph?g0.expr=storm",
					})
				}
				mu.Unlock()
				if code, answer := d.call(http.MethodPost, "/api/v2/alerts", body); code != http.StatusOK {
					b.Errorf("HTTP %d %s", code, answer)
					return
				}
			}
		})
	}
	wg.Wait()
	return posted
}
