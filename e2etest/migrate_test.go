package e2etest

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMigrationGuide: the metrics of ours that the guide names are documented, and where there is an
// Alertmanager, all of its metrics and flags have their place in the guide.
func TestMigrationGuide(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile("../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	guide, metrics := read("migrate-from-alertmanager.md"), read("metrics.md")
	names := regexp.MustCompile("`(tocsin_[a-z_]+)").FindAllStringSubmatch(guide, -1)
	if len(names) < 15 {
		t.Errorf("only %d metrics of ours are named", len(names))
	}
	for _, m := range names {
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			m[1] = strings.TrimSuffix(m[1], suffix)
		}
		if !strings.Contains(metrics, "| `"+m[1]+"` |") {
			t.Errorf("docs/metrics.md does not have %s", m[1])
		}
	}
	for _, p := range programs(t) {
		if p.name == ours().name {
			continue
		}
		d := newDaemon(t, p, newHooks(t).config(route("", "1s", "1m", "1h")))
		_, shown := d.call("GET", "/metrics", nil)
		for _, m := range regexp.MustCompile(`(?m)^# TYPE (alertmanager_\w+)`).FindAllSubmatch(shown, -1) {
			if !strings.Contains(guide, "`"+string(m[1])+"`") {
				t.Errorf("the guide does not say what becomes of %s", m[1])
			}
		}
		help, _ := exec.Command(p.command[0], "--help").CombinedOutput() // it may end with 1
		flags := regexp.MustCompile(`--(?:\[no-\])?([a-z][a-z.-]*[a-z])`).FindAllSubmatch(help, -1)
		if len(flags) < 30 {
			t.Errorf("only %d flags: %s", len(flags), help)
		}
		for _, m := range flags {
			name := string(m[1])
			if !strings.Contains(guide, "`--"+name+"`") && !strings.HasPrefix(name, "cluster.") && !strings.HasPrefix(name, "help-") {
				t.Errorf("the guide does not say what becomes of --%s", name)
			}
		}
	}
}

// TestSilencesTravel: what the migration guide says of taking silences along, with amtool.
func TestSilencesTravel(t *testing.T) {
	amtool, err := exec.LookPath("amtool")
	if err != nil {
		t.Skip("amtool is not installed:", err)
	}
	config := newHooks(t).config(route("", "1s", "1m", "1h"))
	from, to := newDaemon(t, ours(), config), newDaemon(t, ours(), config)
	from.setSilence(equals("alertname", "disk"), like("host", "a.*"))
	out, err := exec.Command(amtool, "--alertmanager.url="+from.url(), "silence", "query", "-o", "json").Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	in := exec.Command(amtool, "--alertmanager.url="+to.url(), "silence", "import")
	in.Stdin = bytes.NewReader(out)
	if out, err := in.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var silences []struct{ Matchers []matcher }
	if to.status(http.MethodGet, "/api/v2/silences", nil, &silences); len(silences) != 1 || !slices.Equal(silences[0].Matchers, []matcher{equals("alertname", "disk"), like("host", "a.*")}) {
		t.Errorf("%+v", silences)
	}
}
