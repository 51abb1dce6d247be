package e2etest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tocsin/evaluator/promtest"
	"tocsin/notifier/pager/pagertest"
)

const benchConfig = `
prometheus: {url: $PROM}
rule_files: [rules.yml]
evaluation_interval: 5s
receivers:
- name: pager
  page_configs: [{url: $PAGER/team, secret_file: page}]
escalations:
- name: default
  group_by: [alertname, i]
  tiers: [{receiver: pager}]
`

const benchRules = `
groups:
- name: flips
  rules:
  - alert: Flip
    expr: flip == 1
    for: 3s
    labels: {severity: critical}
    annotations: {summary: 'flip {{ $labels.i }} at {{ $value }}'}
`

// BenchmarkForToPage: how late a page is against active_at + for, over 200 alerts that begin at random
// moments, from a real Prometheus that scrapes each second to the arrival of the webhook.
func BenchmarkForToPage(b *testing.B) {
	for range b.N {
		exporter := promtest.NewExporter(b)
		for i := range 200 {
			exporter.Set(fmt.Sprintf(`flip{i="%d"}`, i), 0)
		}
		prom := promtest.Start(b, promtest.Options{Targets: []string{exporter.Target()}})
		w := newWorld(b, prom.URL, benchConfig, benchRules)
		w.start()
		w.ready()
		r := rand.New(rand.NewPCG(1, 2))
		for i := range 200 {
			<-time.After(time.Duration(r.IntN(200)) * time.Millisecond)
			exporter.Set(fmt.Sprintf(`flip{i="%d"}`, i), 1)
		}
		w.eventually(30*time.Second, "200 pages", func() bool { return len(w.pager.Pages()) >= 200 })
		reportLateness(b, w.pager.Pages())
		w.stop()
	}
}

var breached = regexp.MustCompile(`breached for (\S+) \(for: (\S+)\)`)

// reportLateness reads when each alert was due from the page itself: it was evaluated at evidence.at, after
// having breached for so long.
func reportLateness(b *testing.B, pages []pagertest.Page) {
	var late []time.Duration
	for _, p := range pages {
		var body struct {
			Data struct {
				Alerts []struct {
					Reason   string
					Evidence struct{ At time.Time }
				}
			}
		}
		if err := json.Unmarshal(p.Body, &body); err != nil || len(body.Data.Alerts) == 0 {
			b.Fatalf("page: %v %s", err, p.Body)
		}
		a := body.Data.Alerts[0]
		m := breached.FindStringSubmatch(a.Reason)
		if m == nil {
			b.Fatalf("reason: %q", a.Reason)
		}
		lasted, err1 := time.ParseDuration(m[1])
		want, err2 := time.ParseDuration(m[2])
		if err1 != nil || err2 != nil {
			b.Fatalf("reason: %q", a.Reason)
		}
		due := a.Evidence.At.Add(-lasted).Add(want)
		late = append(late, p.At.Sub(due))
	}
	slices.Sort(late)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(late[len(late)/2]), "p50-late-ms")
	b.ReportMetric(ms(late[len(late)*95/100]), "p95-late-ms")
	b.ReportMetric(ms(late[len(late)-1]), "max-late-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkCatchUp: from the start after SIGKILL to the arrival of a page that was due in between.
func BenchmarkCatchUp(b *testing.B) {
	var took []time.Duration
	for range b.N {
		prom, url := newStub(b)
		w := newWorld(b, url, strings.Replace(benchConfig, "5s", "1s", 1), strings.Replace(benchRules, "3s", "1500ms", 1))
		w.start()
		w.ready()
		prom.set("flip == 1", "x", 1, true)
		<-time.After(1200 * time.Millisecond) // pending by now
		w.kill()
		<-time.After(time.Second) // due while nobody runs
		at := time.Now()
		w.start()
		w.eventually(20*time.Second, "the page", func() bool { return len(w.pager.Pages()) > 0 })
		took = append(took, time.Since(at))
		w.stop()
	}
	b.ReportMetric(float64(slices.Max(took).Milliseconds()), "max-catchup-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMemory: resident memory at rest, and with 10,000 active alerts in one incident each hundred.
func BenchmarkMemory(b *testing.B) {
	for range b.N {
		prom, url := newStub(b)
		config := strings.Replace(benchConfig, "[alertname, i]", "[alertname]", 1)
		var rules strings.Builder
		rules.WriteString("groups:\n- name: flips\n  rules:\n")
		for i := range 100 {
			fmt.Fprintf(&rules, "  - {alert: Flip%d, expr: 'flip%d == 1', labels: {severity: critical}, annotations: {summary: 'flip {{ $labels.instance }} at {{ $value }}'}}\n", i, i)
		}
		w := newWorld(b, url, config, rules.String())
		w.start()
		w.ready()
		<-time.After(3 * time.Second)
		b.ReportMetric(w.rssMB(b), "rest-MB")
		for i := range 100 {
			for j := range 100 {
				prom.set(fmt.Sprintf("flip%d == 1", i), fmt.Sprintf("host-%d.example:9100", j), 1, true)
			}
		}
		w.eventually(60*time.Second, "100 pages", func() bool { return len(w.pager.Pages()) >= 100 })
		<-time.After(12 * time.Second) // two evaluations more
		b.ReportMetric(w.rssMB(b), "10k-alerts-MB")
		b.ReportMetric(w.cpuSeconds(b), "cpu-s")
		w.stop()
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkBinary: its size, and how long it takes from its start to ready.
func BenchmarkBinary(b *testing.B) {
	st, err := os.Stat(binary)
	if err != nil {
		b.Fatal(err)
	}
	for range b.N {
		_, url := newStub(b)
		w := newWorld(b, url, benchConfig, benchRules)
		at := time.Now()
		w.start()
		w.eventually(20*time.Second, "answers", func() bool {
			res, err := http.Get(w.url + "/-/healthy")
			if err != nil {
				return false
			}
			res.Body.Close()
			return res.StatusCode == 200
		})
		b.ReportMetric(float64(time.Since(at).Milliseconds()), "start-ms")
		w.stop()
	}
	b.ReportMetric(float64(st.Size())/1e6, "binary-MB")
	b.ReportMetric(0, "ns/op")
}

func (w *world) rssMB(b *testing.B) float64      { return rssMB(b, w.proc.Process.Pid) }
func (w *world) cpuSeconds(b *testing.B) float64 { return cpuSeconds(b, w.proc.Process.Pid) }

// rssMB is what a process holds in memory, peakMB the most that it ever held.
func rssMB(b *testing.B, pid int) float64  { return memoryMB(b, pid, "VmRSS:") }
func peakMB(b *testing.B, pid int) float64 { return memoryMB(b, pid, "VmHWM:") }

func memoryMB(b *testing.B, pid int, field string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Skip("resident memory is read from /proc, which is not here:", err)
	}
	_, rest, _ := strings.Cut(string(text), field)
	kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	return kb / 1024
}

func cpuSeconds(b *testing.B, pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.ParseFloat(f[11], 64)
	sys, _ := strconv.ParseFloat(f[12], 64)
	return (user + sys) / 100
}
