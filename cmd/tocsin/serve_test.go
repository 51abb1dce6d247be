package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"tocsin/oncall"
)

// instance is a tocsin that runs in this process.
type instance struct {
	url   string
	dir   string
	log   *syncBuffer
	stop  context.CancelFunc
	ended chan error
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

const configuration = `
prometheus: {url: %s}
rule_files: [rules.yml]
evaluation_interval: 1s
receivers:
- name: phone
  page_configs: [{url: %s/page, secret_file: secret}]
escalations:
- name: default
  tiers: [{receiver: phone}]
`

const ruleFile = `
groups:
- name: g
  rules:
  - alert: %s
    expr: up == 0
`

// backend is a Prometheus in which every query finds one series, and a pager that takes everything.
func backend(t *testing.T) (base string, paged <-chan string) {
	t.Helper()
	pages := make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/page" {
			b, _ := io.ReadAll(r.Body)
			pages <- string(b)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"shop"},"value":[%d,"0"]}]}}`, time.Now().Unix())
	}))
	t.Cleanup(s.Close)
	return s.URL, pages
}

// noLeaks fails the test if a goroutine outlives everything that the test has started. It comes first.
func noLeaks(t *testing.T) {
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		goleak.VerifyNone(t)
	})
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs tocsin on a configuration in dir, and stops it when the test ends.
func start(t *testing.T, dir string, change func(*serveFlags)) *instance {
	t.Helper()
	f := serveFlags{ConfigFile: filepath.Join(dir, "tocsin.yml"), Storage: filepath.Join(dir, "data"),
		LogLevel: "info", LogFormat: "logfmt", Retention: model.Duration(time.Hour)}
	f.Web.ListenAddress = []string{"127.0.0.1:0"}
	if change != nil {
		change(&f)
	}
	ctx, cancel := context.WithCancel(context.Background())
	i := &instance{dir: dir, log: &syncBuffer{}, stop: cancel, ended: make(chan error, 1)}
	s := streams{Out: i.log, Err: i.log}
	address := make(chan string, 1)
	go func() { i.ended <- serve(ctx, f, f.logger(s), s, func(a string) { address <- a }) }()
	select {
	case a := <-address:
		i.url = "http://" + a
	case err := <-i.ended:
		cancel()
		t.Fatalf("it did not start: %v\n%s", err, i.log)
	}
	t.Cleanup(func() { i.end(t) })
	return i
}

// end stops it and wants a clean end in time. A second call does nothing.
func (i *instance) end(t *testing.T) {
	t.Helper()
	i.stop()
	select {
	case err, ok := <-i.ended:
		if ok && err != nil {
			t.Errorf("it ended with %v\n%s", err, i.log)
		}
		if ok {
			close(i.ended)
		}
	case <-time.After(shutdownTime + time.Second):
		t.Errorf("it did not end in time\n%s", i.log)
	}
}

// do asks and returns status and body.
func (i *instance) do(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, i.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// await asks until an answer holds want.
func (i *instance) await(t *testing.T, path, want string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(15 * time.Second)
	for {
		_, body := i.do(t, "GET", path, "")
		if strings.Contains(body, want) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s does not come to hold %q:\n%s\n%s", path, want, body, i.log)
		}
	}
}

func configured(t *testing.T) (dir string, paged <-chan string) {
	t.Helper()
	base, paged := backend(t)
	dir = t.TempDir()
	write(t, dir, "tocsin.yml", fmt.Sprintf(configuration, base, base))
	write(t, dir, "rules.yml", fmt.Sprintf(ruleFile, "Down"))
	write(t, dir, "secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
	return dir, paged
}

func page(t *testing.T, paged <-chan string, i *instance) string {
	t.Helper()
	select {
	case p := <-paged:
		return p
	case <-time.After(15 * time.Second):
		t.Fatalf("no page came\n%s", i.log)
	}
	return ""
}

// TestTheWholeLine goes from a rule to an acknowledged page, through everything that this package wires,
// and over a restart.
func TestTheWholeLine(t *testing.T) {
	noLeaks(t)
	dir, paged := configured(t)
	i := start(t, dir, nil)
	i.await(t, "/-/ready", "tocsin is ready")
	if p := page(t, paged, i); !strings.Contains(p, `"incident.triggered"`) || !strings.Contains(p, i.url+"/hooks/ack/") {
		t.Errorf("page %s", p)
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"incident", "ack", "1", "--user", "ana", "--url", i.url}, streams{&out, &errs}); code != exitFine {
		t.Fatalf("%d %s", code, errs.String())
	}
	if got := out.String(); !strings.Contains(got, "acknowledged by ana") {
		t.Errorf("reply %q", got)
	}
	page(t, paged, i) // that it is acknowledged
	i.end(t)

	again := start(t, dir, nil)
	again.await(t, "/-/ready", "tocsin is ready")
	again.await(t, "/api/tocsin/v1/incidents/1", `"state":"acknowledged"`)
	for _, args := range [][]string{{"incident", "list"}, {"incident", "show", "#1"}, {"why", "1"}} {
		out.Reset()
		if code := run(t.Context(), append(args, "--url", again.url), streams{&out, &errs}); code != exitFine || !strings.Contains(out.String(), "Down") {
			t.Errorf("%v: %d %s %s", args, code, out.String(), errs.String())
		}
	}
	if code := run(t.Context(), []string{"incident", "resolve", "9", "--url", again.url}, streams{&out, &errs}); code != exitFailed || !strings.Contains(errs.String(), "no incident #9") {
		t.Errorf("%d %s", code, errs.String())
	}
	again.end(t)
}

func TestABadReloadLeavesTheOldConfigurationRunning(t *testing.T) {
	noLeaks(t)
	dir, paged := configured(t)
	i := start(t, dir, nil)
	page(t, paged, i)
	i.await(t, "/metrics", "tocsin_config_last_reload_successful 1")

	write(t, dir, "rules.yml", "groups: [{name: g, rulse: []}]\n")
	status, body := i.do(t, "POST", "/-/reload", "")
	if status != 500 || !strings.Contains(body, "rules.yml:1:") || !strings.Contains(body, "rulse") {
		t.Errorf("%d %s", status, body)
	}
	i.await(t, "/metrics", "tocsin_config_last_reload_successful 0")
	if !strings.Contains(i.log.String(), "rulse") {
		t.Errorf("the log does not say why:\n%s", i.log)
	}

	// The good one replaces the rule: its alert resolves, another fires.
	write(t, dir, "rules.yml", fmt.Sprintf(ruleFile, "Gone"))
	if status, body := i.do(t, "POST", "/-/reload", ""); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	i.await(t, "/metrics", "tocsin_config_last_reload_successful 1")
	i.await(t, "/api/tocsin/v1/incidents/1", `"state":"resolved"`)
	i.await(t, "/api/tocsin/v1/incidents/2", `"Gone"`)
	i.end(t)
}

func TestSIGHUPReloads(t *testing.T) {
	noLeaks(t)
	dir, paged := configured(t)
	i := start(t, dir, nil)
	page(t, paged, i)
	write(t, dir, "rules.yml", fmt.Sprintf(ruleFile, "Gone"))
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	i.await(t, "/api/tocsin/v1/incidents", `"Gone"`)
	i.end(t)
}

// TestAuthenticatedUsersAct runs with users in --web.config.file: they are who acts, and links need none.
func TestAuthenticatedUsersAct(t *testing.T) {
	noLeaks(t)
	dir, paged := configured(t)
	// "fakepassword", as exporter-toolkit's own placeholder has it.
	write(t, dir, "web.yml", "basic_auth_users:\n  ana: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi\n")
	i := start(t, dir, func(f *serveFlags) {
		f.Web.ConfigFile, f.Web.CallbackAddress = filepath.Join(dir, "web.yml"), "127.0.0.1:0"
	})
	page(t, paged, i)
	var out, errs bytes.Buffer
	s := streams{&out, &errs}
	if code := run(t.Context(), []string{"incident", "ack", "1", "--url", i.url}, s); code != exitFailed || !strings.Contains(errs.String(), "who you are") {
		t.Errorf("without a password: %d %s", code, errs.String())
	}
	known := strings.Replace(i.url, "http://", "http://ana:fakepassword@", 1)
	if code := run(t.Context(), []string{"incident", "ack", "1", "--url", known, "--user", "bo"}, s); code != exitFailed || !strings.Contains(errs.String(), `cannot act as "bo"`) {
		t.Errorf("under another name: %d %s", code, errs.String())
	}
	if code := run(t.Context(), []string{"incident", "ack", "1", "--url", known}, s); code != exitFine || !strings.Contains(out.String(), "acknowledged by ana") {
		t.Errorf("%d %s%s", code, out.String(), errs.String())
	}
	i.end(t)
}

func TestTheCallbackPort(t *testing.T) {
	noLeaks(t)
	dir, _ := configured(t)
	i := start(t, dir, func(f *serveFlags) { f.Web.CallbackAddress = "127.0.0.1:0" })
	_, after, found := strings.Cut(i.log.String(), "callback_address=")
	if !found {
		t.Fatalf("the log does not name the port:\n%s", i.log)
	}
	address, _, _ := strings.Cut(after, "\n")
	callbacks := &instance{url: "http://" + address, log: i.log}
	if status, _ := callbacks.do(t, "GET", "/metrics", ""); status != 404 {
		t.Errorf("metrics are served to the outside: %d", status)
	}
	if status, body := callbacks.do(t, "GET", "/hooks/ack/x", ""); status != 404 || !strings.Contains(body, "No such link") {
		t.Errorf("%d %s", status, body)
	}
	i.end(t)
}

func TestWhereTocsinIsReached(t *testing.T) {
	for _, c := range []struct {
		flags        webFlags
		want, prefix string
	}{
		{webFlags{ListenAddress: []string{"127.0.0.1:0"}}, "http://127.0.0.1:PORT", ""},
		{webFlags{ListenAddress: []string{"127.0.0.1:0"}, ExternalURL: "https://tocsin.example/bell/"}, "https://tocsin.example/bell", "/bell"},
		{webFlags{ListenAddress: []string{"127.0.0.1:0"}, ExternalURL: "https://tocsin.example/bell/", RoutePrefix: "/"}, "https://tocsin.example/bell", ""},
		{webFlags{ListenAddress: []string{"127.0.0.1:0"}, RoutePrefix: "bell/"}, "http://127.0.0.1:PORT", "/bell"},
	} {
		l, err := c.flags.listen()
		if err != nil {
			t.Fatal(err)
		}
		listener, err := readListener("")
		if err != nil {
			t.Fatal(err)
		}
		u, err := c.flags.externalURL(l, listener)
		if err != nil {
			t.Fatal(err)
		}
		address, err := url.Parse("http://" + l.main[0].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.ReplaceAll(c.want, "PORT", address.Port()); u.String() != want || c.flags.prefix(u) != c.prefix {
			t.Errorf("%+v: %s and %q, want %s and %q", c.flags, u, c.flags.prefix(u), want, c.prefix)
		}
		l.close()
	}
}

func TestWhatIsPrintedCannotRedrawATerminal(t *testing.T) {
	v := oncall.IncidentView{Number: 1, Title: "disk\x1b[2J full\u009b31m", State: oncall.IncidentTriggered,
		Timeline: []oncall.TimelineEntry{{Text: "a\rb", Actor: "e\x07ve"}}}
	var b bytes.Buffer
	if err := printIncident(&b, v); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\r\x07\u009b") {
		t.Errorf("%q", b.String())
	}
}
