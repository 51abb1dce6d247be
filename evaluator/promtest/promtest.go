// Package promtest runs a real Prometheus for tests, with an exporter whose series the test sets. It is for
// tests that must know what Prometheus really does; everything else is tested against fakes.
//
// Start reading at Start.
package promtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// install says how to get what the tests need.
const install = "the prometheus binary is missing: install it with `apt-get install prometheus` (Debian, Ubuntu) or put it on PATH"

// startTimeout bounds the time until a new Prometheus is ready, and until an old one has stopped.
const startTimeout = 30 * time.Second

// Options are how a Prometheus is to run.
type Options struct {
	Targets        []string      // host:port of exporters
	ScrapeInterval time.Duration // also of its own rules; 0: 1s
	Rules          string        // content of a rule file that it evaluates by itself; "" for none
	RemoteWrite    bool          // it takes series at /api/v1/write
}

// Server is a running Prometheus. It is stopped when the test ends.
type Server struct {
	URL string

	log  *lockedBuffer
	stop func()
}

// Binary returns the path of prometheus. Without it the test is skipped, or fails where CI or
// TOCSIN_TEST_PROMETHEUS=require says that it must run.
func Binary(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"prometheus", "/usr/bin/prometheus"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" || os.Getenv("TOCSIN_TEST_PROMETHEUS") == "require" {
		t.Fatal(install)
	}
	t.Skip(install)
	return ""
}

// Start runs Prometheus on a free port of the loopback interface and waits until it is ready.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	binary := Binary(t)
	dir := t.TempDir()
	config := writeConfig(t, dir, o)
	var failure error
	for range 3 { // somebody else may take the port between our look and its use
		s, err := start(binary, dir, config, o.flags()...)
		if err == nil {
			t.Cleanup(s.Stop)
			return s
		}
		failure = err
	}
	t.Fatalf("cannot start %s: %v", binary, failure)
	return nil
}

func writeConfig(t testing.TB, dir string, o Options) string {
	t.Helper()
	interval := o.ScrapeInterval
	if interval <= 0 {
		interval = time.Second
	}
	ms := fmt.Sprintf("%dms", interval.Milliseconds())
	text := fmt.Sprintf("global: {scrape_interval: %s, scrape_timeout: %s, evaluation_interval: %s}\n", ms, ms, ms)
	if o.Rules != "" {
		write(t, filepath.Join(dir, "rules.yml"), o.Rules)
		text += "rule_files: [rules.yml]\n"
	}
	if len(o.Targets) > 0 {
		text += scrape(o.Targets)
	}
	path := filepath.Join(dir, "prometheus.yml")
	write(t, path, text)
	return path
}

func scrape(targets []string) string {
	return "scrape_configs:\n- job_name: test\n  honor_labels: true\n  static_configs:\n  - targets: ['" + strings.Join(targets, "', '") + "']\n"
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (o Options) flags() []string {
	if o.RemoteWrite {
		return []string{"--web.enable-remote-write-receiver"}
	}
	return nil
}

func start(binary, dir, config string, flags ...string) (*Server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &Server{URL: "http://" + addr, log: &lockedBuffer{}}
	cmd := exec.Command(binary, append([]string{"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"),
		"--web.listen-address=" + addr, "--log.level=warn"}, flags...)...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	s.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(startTimeout):
			_ = cmd.Process.Kill()
			<-exited
		}
	})
	if err := s.awaitReady(exited); err != nil {
		s.stop()
		return nil, fmt.Errorf("%w\n%s", err, s.log)
	}
	return s, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *Server) awaitReady(exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if ready(ctx, s.URL+"/-/ready") {
			return nil
		}
		select {
		case <-tick.C:
		case <-exited:
			return fmt.Errorf("it ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("it was not ready within %s", startTimeout)
		}
	}
}

func ready(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode == http.StatusOK
}

// Stop ends Prometheus and waits for it. It may be called more than once.
func (s *Server) Stop() { s.stop() }

// lockedBuffer keeps what Prometheus logs.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Exporter serves series in Prometheus' text format. It is safe for concurrent use.
type Exporter struct {
	server *httptest.Server
	mu     sync.Mutex
	series map[string]float64
}

// NewExporter starts an exporter without series. It ends with the test.
func NewExporter(t testing.TB) *Exporter {
	e := &Exporter{series: map[string]float64{}}
	e.server = httptest.NewServer(http.HandlerFunc(e.serve))
	t.Cleanup(e.server.Close)
	return e
}

// Target is the exporter's host:port.
func (e *Exporter) Target() string { return e.server.Listener.Addr().String() }

// Set gives a series, written as in PromQL (`up{instance="a"}`), its value from the next scrape on.
func (e *Exporter) Set(series string, value float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.series[series] = value
}

// Delete takes a series away: it vanishes with the next scrape.
func (e *Exporter) Delete(series string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.series, series)
}

func (e *Exporter) serve(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	var lines []string
	for series, value := range e.series {
		lines = append(lines, fmt.Sprintf("%s %v\n", series, value))
	}
	e.mu.Unlock()
	slices.Sort(lines)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = fmt.Fprint(w, strings.Join(lines, ""))
}
