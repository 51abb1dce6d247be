package web

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// amtoolVersion is that of the module which go.mod names.
const amtoolVersion = "v0.34.2"

// amtoolPath finds or builds Alertmanager's command line. It is installed as a program of its own, so that its
// dependencies are none of ours: the first time takes a minute or two. TOCSIN_TEST_AMTOOL is a path, or "require".
var amtoolPath = sync.OnceValues(func() (path, why string) {
	given := os.Getenv("TOCSIN_TEST_AMTOOL")
	if given != "" && given != "require" {
		return given, ""
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "there is no cache directory: " + err.Error()
	}
	dir := filepath.Join(cache, "tocsin-test", "amtool-"+amtoolVersion)
	path = filepath.Join(dir, "amtool")
	if _, err := os.Stat(path); err == nil {
		return path, ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "go", "install", "github.com/prometheus/alertmanager/cmd/amtool@"+amtoolVersion)
	install.Dir = os.TempDir()
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := install.CombinedOutput(); err != nil {
		return "", "amtool cannot be built here: " + err.Error() + "\n" + string(out)
	}
	return path, ""
})

// amtool runs commands against a line.
type amtool struct {
	t         *testing.T
	path, url string
	home      string
}

func newAmtool(t *testing.T, l *line) *amtool {
	t.Helper()
	if testing.Short() && os.Getenv("TOCSIN_TEST_AMTOOL") == "" {
		t.Skip("building amtool takes a minute or two: not with -short")
	}
	path, why := amtoolPath()
	if why != "" && os.Getenv("TOCSIN_TEST_AMTOOL") == "require" {
		t.Fatal(why)
	} else if why != "" {
		t.Skip(why)
	}
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	return &amtool{t: t, path: path, url: server.URL + "/prefix", home: t.TempDir()}
}

// run runs one command and returns what it prints.
func (a *amtool) run(args ...string) (out string, failed bool) {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), a.path, append(args, "--alertmanager.url="+a.url, "--no-version-check")...)
	cmd.Env = append(os.Environ(), "HOME="+a.home, "TZ=UTC")
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err := cmd.Run()
	return both.String(), err != nil
}

// says runs a command that must succeed and print these.
func (a *amtool) says(command string, want ...string) string {
	a.t.Helper()
	out, failed := a.run(strings.Fields(command)...)
	if failed {
		a.t.Errorf("amtool %s failed:\n%s", command, out)
	}
	for _, s := range want {
		if no, not := strings.CutPrefix(s, "!"); not == strings.Contains(out, no) {
			a.t.Errorf("amtool %s: %s in\n%s", command, s, out)
		}
	}
	return strings.TrimSpace(out)
}

// refuses runs a command that must fail and say why.
func (a *amtool) refuses(command, want string) {
	a.t.Helper()
	if out, failed := a.run(strings.Fields(command)...); !failed || !strings.Contains(out, want) {
		a.t.Errorf("amtool %s: failed %v, %q in\n%s", command, failed, want, out)
	}
}

func TestAmtoolAlerts(t *testing.T) {
	l := newLine(t)
	a := newAmtool(t, l)
	a.says("alert add alertname=Memory instance=web-1 severity=critical cluster=eu --annotation=summary=high --generator-url=http://prometheus.example/graph")
	a.says("alert add Slow severity=warning cluster=eu")
	a.says("alert add Slow severity=warning cluster=us team=b --end=" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	a.refuses("alert add Bad --start=2030-01-01T00:00:00Z --end=2029-01-01T00:00:00Z", "start time must be before end time")
	l.until(t, "three alerts", func() bool {
		return strings.Count(ask(l, "GET", "/prefix/api/v2/alerts", "").Body.String(), `"fingerprint"`) == 3
	})
	a.says("alert query", "Memory", "Slow", "high", "active")
	a.says("alert", "Memory")
	a.says("alert query Memory", "Memory", "!Slow")
	a.says("alert query -o extended", `instance="web-1"`, `summary="high"`, "http://prometheus.example/graph", "!suppressed")
	a.says("alert query -i", "Slow", "suppressed", "!Memory")
	a.says("alert query -a", "Memory")
	a.says("alert query -r two", "Slow", "!Memory")
	a.says("alert query -r nobody", "!Slow", "!Memory")
	a.says(`alert query alertname=~Mem.+|Slow cluster="eu" -o simple`, "Memory")
	a.says(`alert query team=`, "Memory", "!Slow") // the other one without a team is inhibited
	var list []struct {
		Labels map[string]string
		Status struct{ State string }
	}
	if out := a.says("alert query -o json -a -i -s -u"); json.Unmarshal([]byte(out), &list) != nil || len(list) != 3 || list[0].Labels["alertname"] == "" {
		t.Errorf("%s", out)
	}
}

func TestAmtoolSilences(t *testing.T) {
	a := newAmtool(t, newLine(t))
	id := a.says("silence add alertname=Memory instance=~web-.+ team!=b job!~x.* --author=ana --comment=maintenance --duration=2h")
	a.says("silence query", id, "ana", "maintenance", `instance=~"web-.+"`, `team!="b"`, `job!~"x.*"`)
	a.says("silence query -q alertname=Memory", id)
	a.says("silence query -q alertname=Other", "!"+id)
	a.says("silence query -o extended --within=3h", id)
	a.says("silence query -q --within=1h", "!"+id)
	a.says("silence query -q --created-by=ana", id)
	exported := a.says("silence query -o json", id)
	a.refuses("silence add --comment=all alertname=~.*", "at least one matcher must not match the empty string")
	a.refuses("silence add alertname=Memory", "comment required")
	a.says("silence update --duration=5h "+id, "maintenance") // with --quiet it prints a pointer
	longer := a.says("silence query -q alertname=Memory --within=6h")
	a.says("silence query -q alertname=Memory --within=4h", "!-")
	pending := a.says("silence add team=b --comment=window --start=2099-01-01T00:00:00Z --end=2099-01-02T00:00:00Z")
	a.says("silence query", pending, "2099-01-02")
	a.says("silence expire " + longer + " " + pending)
	a.says("silence query -q", "!"+longer, "!"+pending)
	a.says("silence query -q --expired", longer, pending)
	a.refuses("silence expire 00000000-0000-4000-8000-000000000000", "404")
	file := filepath.Join(t.TempDir(), "silences.json")
	if err := os.WriteFile(file, []byte(exported), 0o600); err != nil {
		t.Fatal(err)
	}
	a.says("silence import --force " + file)
	if ids := a.says("silence query -q alertname=Memory"); len(strings.Fields(ids)) != 1 {
		t.Errorf("after the import: %s", ids)
	}
}

func TestAmtoolShowsTheConfiguration(t *testing.T) {
	a := newAmtool(t, newLine(t))
	a.says("cluster show", "ready", "tocsin-1")
	a.says("cluster show -o extended", "ready", "tocsin-1", "127.0.0.1:9093")
	a.says("config show", "receiver: one", "group_wait: 1h", "- name: two")
	a.says("config", "receiver: one")
	a.says("config routes show", `{team="b"}`, "receiver: two", "continue: true")
	a.says("config routes", "default-route")
	if out := a.says("config routes test team=b"); out != "two,one" {
		t.Errorf("%s", out)
	}
	a.says("config routes test --verify.receivers=one team=c", "one")
	a.refuses("config routes test --verify.receivers=two team=c", "one")
	text := filepath.Join(t.TempDir(), "x.tmpl")
	if err := os.WriteFile(text, []byte(`{{ define "x" }}{{ len .Alerts }} alerts of {{ .Receiver }}{{ end }}`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, failed := a.run("template", "render", "--template.glob="+text, `--template.text={{ template "x" . }}`)
	if failed || !strings.Contains(out, "alerts of") {
		t.Errorf("%s", out)
	}
}
