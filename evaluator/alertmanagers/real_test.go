package alertmanagers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/evaluator/alertmanagers"
	"tocsin/oncall"
)

// startAlertmanager runs a real Alertmanager on a free port of the loopback interface. Without the binary
// the test is skipped: the strict fake knows the same rules.
func startAlertmanager(t *testing.T) string {
	t.Helper()
	binary := ""
	for _, name := range []string{"alertmanager", "prometheus-alertmanager"} {
		if path, err := exec.LookPath(name); err == nil {
			binary = path
		}
	}
	if binary == "" {
		t.Skip("no Alertmanager to test against: apt-get install prometheus-alertmanager, or put alertmanager on PATH")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(file, []byte("route: {receiver: none}\nreceivers: [{name: none}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--config.file="+file, "--storage.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr, "--cluster.listen-address=")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		http.DefaultClient.CloseIdleConnections()
	})
	base := "http://" + addr
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(50 * time.Millisecond) {
		if resp, err := http.Get(base + "/-/ready"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return base
			}
		}
	}
	t.Fatalf("%s was not ready in time\n%s", binary, log.String())
	return ""
}

// known lists what the Alertmanager says fires.
func known(t *testing.T, base string) []string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/api/v2/alerts", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var alerts []struct {
		Labels       map[string]string
		GeneratorURL string
		StartsAt     time.Time
	}
	if err := json.NewDecoder(resp.Body).Decode(&alerts); err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, a := range alerts {
		out = append(out, a.Labels["alertname"]+" "+a.Labels["cluster"])
		if a.GeneratorURL != alertOf("").GeneratorURL || a.StartsAt.IsZero() {
			t.Errorf("got %+v", a)
		}
	}
	slices.Sort(out)
	return out
}

// TestRealAlertmanager: a real one takes what we send, and resolves what we say has resolved, also where
// that happened before a restart.
func TestRealAlertmanager(t *testing.T) {
	base := startAlertmanager(t)
	cfg := config(t, base)
	cfg.HTTP = promconfig.DefaultHTTPClientConfig
	var resolved []oncall.Transition
	start := func() *rig {
		r := newRig(t, nil, alertmanagers.Options{ExternalLabels: labels.FromStrings("cluster", "shop-1"),
			Resolved: func(context.Context, time.Time) ([]oncall.Transition, error) { return resolved, nil }})
		if err := r.f.Apply([]alertmanagers.Config{cfg}, labels.FromStrings("cluster", "shop-1")); err != nil {
			t.Fatal(err)
		}
		r.start()
		return r
	}
	want := func(what string, names ...string) {
		t.Helper()
		var got []string
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-time.After(50 * time.Millisecond) {
			if got = known(t, base); slices.Equal(got, names) {
				return
			}
		}
		t.Errorf("%s: Alertmanager knows %q, want %q", what, got, names)
	}
	r := start()
	r.fire("A", "B", "C")
	want("fired", "A shop-1", "B shop-1", "C shop-1")
	r.resolve("B")
	want("resolved", "A shop-1", "C shop-1")
	r.stop()

	// While nobody sent, C resolved; A still fires.
	resolved = []oncall.Transition{{Labels: labels.FromStrings("alertname", "C"), At: time.Now(), To: oncall.StateResolved}}
	again := start()
	defer again.stop()
	again.mu.Lock()
	again.active["A"] = r.active["A"]
	again.mu.Unlock()
	want("restarted", "A shop-1")
	if text := r.log.String() + again.log.String(); strings.Contains(text, "level=") {
		t.Errorf("logged: %s", text)
	}
}
