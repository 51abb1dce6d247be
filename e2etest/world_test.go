package e2etest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
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

	"tocsin/notifier/pager/pagertest"
	"tocsin/notifier/slack/slacktest"
	"tocsin/store/pgtest"
)

// binary is the path of the tocsin under test, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tocsin-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	binary = filepath.Join(dir, "tocsin")
	build := exec.Command("go", "build", "-o", binary, "tocsin/cmd/tocsin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building tocsin: %v\n%s", err, out)
		os.Exit(2)
	}
	code := pgtest.Main(m)
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

const (
	signingSecret = "8f742231b10e8888abcd99yyyzzz85a5"
	botToken      = "xoxb-test"
	pageSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// world is tocsin between its far ends.
type world struct {
	t     testing.TB
	dir   string
	slack *slacktest.Server
	pager *pagertest.Server
	prom  string // base URL of the query API
	extra []string

	pagerURL string
	addr     string
	url      string

	mu   sync.Mutex
	proc *exec.Cmd
	done chan struct{} // closed when proc has ended
}

// newWorld starts the far ends. config is tocsin.yml with $PROM, $SLACK and $PAGER in it, and rules is the
// rule file.
func newWorld(t testing.TB, prom, config, rules string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), prom: prom}
	w.slack = slacktest.New(slacktest.Options{
		Token: botToken, SigningSecret: signingSecret, Channels: []string{"#alerts", "#session-alerts"},
		Users: []slacktest.User{{ID: "U02ANA", Name: "ana"}, {ID: "U03BO", Name: "bo"}, {ID: "U09EVE", Name: "eve"}},
	})
	slackServer := httptest.NewServer(w.slack)
	t.Cleanup(slackServer.Close)
	w.slack.SetURL(slackServer.URL)
	w.pager = pagertest.New(pageSecret)
	pagerServer := httptest.NewServer(w.pager)
	t.Cleanup(pagerServer.Close)
	w.pagerURL = pagerServer.URL
	w.addr = freeAddress(t)
	w.url = "http://" + w.addr
	w.write("slack-bot", botToken)
	w.write("slack-signing", signingSecret)
	w.write("page", pageSecret)
	w.write("rules.yml", rules)
	w.write("tocsin.yml", strings.NewReplacer("$PROM", prom, "$SLACK", w.slack.APIURL(), "$PAGER", pagerServer.URL).Replace(config))
	t.Cleanup(w.kill)
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(w.dir, "log"))
			t.Logf("log of tocsin (last part):\n%s", log[max(0, len(log)-8000):])
		}
	})
	return w
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// start starts tocsin without waiting for it.
func (w *world) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	log, err := os.OpenFile(filepath.Join(w.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Error(err)
		return
	}
	args := append([]string{"serve", "--config.file", filepath.Join(w.dir, "tocsin.yml"), "--storage.path", filepath.Join(w.dir, "data"),
		"--web.listen-address", w.addr, "--web.external-url", w.url, "--log.level", "info"}, w.extra...)
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		w.t.Error(err)
		return
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); log.Close(); close(done) }()
	w.proc, w.done = cmd, done
}

// kill ends tocsin with SIGKILL and waits until it is gone.
func (w *world) kill() { w.signal(syscall.SIGKILL) }

// stop ends tocsin with SIGTERM and returns how long that took.
func (w *world) stop() time.Duration {
	at := time.Now()
	w.signal(syscall.SIGTERM)
	return time.Since(at)
}

func (w *world) signal(s syscall.Signal) {
	w.mu.Lock()
	proc, done := w.proc, w.done
	w.mu.Unlock()
	if proc == nil {
		return
	}
	_ = proc.Process.Signal(s)
	<-done
}

// ready waits until tocsin says that it is.
func (w *world) ready() {
	w.t.Helper()
	w.eventually(patience, "tocsin is ready", func() bool {
		res, err := http.Get(w.url + "/-/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == 200
	})
}

// patience bounds waits for what takes seconds. It is no expectation: on a machine whose cores are busy with
// other packages' tests, everything may take several times as long.
const patience = time.Minute

// until polls cond until it holds or the bound passes, and says whether it did.
func until(bound time.Duration, cond func() bool) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(bound)
	for {
		if cond() {
			return true
		}
		select {
		case <-end:
			return cond()
		case <-tick.C:
		}
	}
}

// eventually fails the test unless cond comes true within the bound.
func (w *world) eventually(bound time.Duration, what string, cond func() bool) {
	w.t.Helper()
	if !until(bound, cond) {
		w.t.Fatalf("not within %s: %s", bound, what)
	}
}

// incident is the own API's form, as far as tests look at it.
type incident struct {
	Number         int64
	State          string
	Title          string
	AcknowledgedBy string `json:"acknowledged_by"`
	Labels         map[string]string
	GroupLabels    map[string]string `json:"group_labels"`
	Alerts         []struct {
		State        string
		Labels       map[string]string
		UnknownSince time.Time `json:"unknown_since"`
	}
	Timeline    []timelineEntry
	Deliveries  []deliveryView
	Escalation  string
	Round       int
	TriggeredAt time.Time `json:"triggered_at"`
	NextAt      time.Time `json:"next_at"`
}

type timelineEntry struct {
	At   time.Time
	Kind string
	Text string
}

type deliveryView struct {
	Key       string
	Bundle    string
	Endpoint  string
	Kind      string
	State     string
	Round     int
	Tier      int
	Made      int       `json:"attempts_made"`
	CreatedAt time.Time `json:"created_at"`
	Attempts  []struct {
		Outcome string
		Status  int
	}
}

// get reads the own API into out and returns the status, 0 where nothing answered.
func (w *world) get(path string, out any) int {
	return w.do(http.MethodGet, path, nil, out)
}

func (w *world) do(method, path string, in, out any) int {
	var body io.Reader
	if in != nil {
		b, _ := json.Marshal(in)
		body = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, body)
	if err != nil {
		w.t.Error(err)
		return 0
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0
	}
	if out != nil && res.StatusCode < 300 {
		if err := json.Unmarshal(b, out); err != nil {
			w.t.Errorf("%s %s: %v\n%s", method, path, err, b)
		}
	}
	return res.StatusCode
}

// incidents lists all incidents, oldest first.
func (w *world) incidents() []incident {
	var list []incident
	w.get("/api/tocsin/v1/incidents?limit=1000", &list)
	slices.Reverse(list)
	return list
}

// full returns one incident with its timeline and deliveries.
func (w *world) full(number int64) incident {
	w.t.Helper()
	var in incident
	if code := w.get(fmt.Sprintf("/api/tocsin/v1/incidents/%d", number), &in); code != http.StatusOK {
		w.t.Errorf("incident %d: HTTP %d", number, code)
	}
	return in
}

// neverAttempted reports whether a delivery was taken back before anybody tried to send it.
func (in incident) neverAttempted(endpoint, kind string) bool {
	for _, d := range in.Deliveries {
		if d.Endpoint == endpoint && d.Kind == kind && d.State == "dropped" && len(d.Attempts) == 0 {
			return true
		}
	}
	return false
}

// run runs a client command and returns its output and exit code.
func (w *world) run(args ...string) (string, int) {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "TOCSIN_URL="+w.url)
	out, err := cmd.CombinedOutput()
	code := 0
	if err != nil {
		code = cmd.ProcessState.ExitCode()
	}
	return string(out), code
}

// stub is a Prometheus as far as the evaluator looks: for each expression the series that it returns.
type stub struct {
	mu     sync.Mutex
	series map[string]map[string]float64 // expression → instance → value
	broken http.HandlerFunc              // answers instead, if set
	asked  int
}

func newStub(t testing.TB) (*stub, string) {
	s := &stub{series: map[string]map[string]float64{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

func (s *stub) set(expr, instance string, v float64, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.series[expr] == nil {
		s.series[expr] = map[string]float64{}
	}
	if on {
		s.series[expr][instance] = v
	} else {
		delete(s.series[expr], instance)
	}
}

func (s *stub) breakWith(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = h
}

func (s *stub) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	broken := s.broken
	s.asked++
	type sample struct {
		Metric map[string]string `json:"metric"`
		Value  [2]any            `json:"value"`
	}
	result := []sample{}
	for instance, v := range s.series[r.FormValue("query")] {
		result = append(result, sample{map[string]string{"__name__": "flip", "instance": instance}, [2]any{float64(time.Now().UnixMilli()) / 1000, fmt.Sprint(v)}})
	}
	s.mu.Unlock()
	if broken != nil {
		broken(rw, r)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "vector", "result": result}})
}
