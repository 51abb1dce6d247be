// Package tocsin_test guards what no single package can: which way imports point, and that the documents
// name things that exist.
package tocsin_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// arrows says which of our packages each package may import, by prefix. What is not listed may import
// nothing of ours. problem is a leaf that whoever decodes configuration may use.
var arrows = map[string][]string{
	"cmd":                     {"config", "web", "demo", "replay", "store", "evaluator", "notifier", "oncall", "rules", "problem"}, // wiring names everything once
	"demo":                    {"config", "replay", "notifier/slack/slacktest", "notifier/pager/pagertest"},
	"config":                  {"evaluator", "notifier", "rules", "oncall", "problem"},
	"web":                     {"evaluator", "notifier", "oncall"},
	"replay":                  {"evaluator", "notifier", "rules", "oncall"},
	"evaluator":               {"rules", "oncall", "problem"},
	"evaluator/prometheus":    {"evaluator", "oncall", "problem"},
	"evaluator/remotewrite":   {"evaluator", "oncall", "problem"},
	"evaluator/alertmanagers": {"evaluator", "oncall", "problem"},
	"evaluator/httpconf":      {"problem"},
	"notifier":                {"rules", "oncall", "problem"},
	"notifier/slack":          {"notifier", "oncall", "problem"},
	"notifier/pager":          {"notifier", "oncall", "problem"},
	"notifier/watchdog":       {"notifier", "oncall", "problem", "evaluator/httpconf"},
	"notifier/alertmanager":   {"notifier", "oncall", "problem"},
	"store":                   {"oncall"},
	"rules":                   {"oncall", "problem"},
	"oncall":                  {"problem"},
	"problem":                 {},
	"docs":                    {}, // embedded documents
}

// corners are imports that only one package may make: a far end's library breaks in one place, and only
// one package knows SQL.
var corners = map[string]string{
	"github.com/slack-go/slack":          "notifier/slack",
	"github.com/gorilla/websocket":       "notifier/slack",
	"github.com/prometheus/alertmanager": "notifier/alertmanager",
	"database/sql":                       "store",
	"modernc.org/sqlite":                 "store",
	"github.com/jackc/pgx":               "store",
	"github.com/pressly/goose":           "store",
	"github.com/alecthomas/kong":         "cmd",
}

// leaves are packages below a corner that are free to all: types of the field, without effects.
var leaves = []string{
	"github.com/prometheus/alertmanager/pkg/labels",
	"github.com/prometheus/alertmanager/timeinterval",
	"github.com/prometheus/alertmanager/api/v2/models",
	"github.com/prometheus/alertmanager/matcher/parse",
}

// pure is what the core must not import: effects of any kind.
var impure = []string{"context", "database/sql", "net", "net/http", "os", "sync", "log", "log/slog", "math/rand", "math/rand/v2", "crypto/rand", "io/fs"}

type pkg struct {
	path    string // below the module, "" for the root
	imports []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var ps []pkg
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		ps = append(ps, pkg{strings.TrimPrefix(strings.TrimPrefix(f[0], "tocsin"), "/"), f[1:]})
	}
	return ps
}

// isTestHelper reports whether a package is a fake or a suite: those may import what they test.
func isTestHelper(path string) bool { return strings.HasSuffix(path, "test") }

func below(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

// allowed returns the longest prefix of path that arrows knows.
func allowed(path string) (prefix string, to []string) {
	for p := path; ; p = filepath.Dir(p) {
		if to, ok := arrows[p]; ok {
			return p, to
		}
		if p == "." {
			return "", nil
		}
	}
}

func TestArrowsPointOneWay(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages(t) {
		prefix, to := allowed(p.path)
		seen[prefix] = true
		if p.path != "" && prefix == "" && !isTestHelper(p.path) && !below(p.path, "examples") {
			t.Errorf("package %s stands in no arrow: name it in this test and in ARCHITECTURE.md", p.path)
		}
		for _, imp := range p.imports {
			own, ok := strings.CutPrefix(imp, "tocsin/")
			if !ok || isTestHelper(p.path) || below(own, p.path) {
				continue
			}
			if isTestHelper(own) && prefix != "demo" {
				t.Errorf("%s imports the fake %s outside a test", p.path, own)
			}
			if !slices.ContainsFunc(to, func(a string) bool { return below(own, a) }) {
				t.Errorf("%s must not import %s: arrows from %s go to %v", p.path, own, prefix, to)
			}
		}
	}
	for prefix := range arrows {
		if !seen[prefix] {
			t.Errorf("the arrow of %s is about no package", prefix)
		}
	}
}

func TestCorners(t *testing.T) {
	for _, p := range packages(t) {
		for _, imp := range p.imports {
			for lib, owner := range corners {
				if below(imp, lib) && !below(p.path, owner) && !slices.Contains(leaves, imp) {
					t.Errorf("%s imports %s, which belongs to %s alone", p.path, imp, owner)
				}
			}
			if p.path == "oncall" && slices.Contains(impure, imp) {
				t.Errorf("the core imports %s: it has no effects", imp)
			}
		}
	}
}

// TestCoreReadsNoClock: now is an argument, everywhere in the core.
func TestCoreReadsNoClock(t *testing.T) {
	files, err := filepath.Glob("oncall/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	clock := regexp.MustCompile(`\btime\.(Now|Since|Until|Sleep|After|AfterFunc|NewTimer|NewTicker|Tick)\(|\bgo func\b`)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if m := clock.Find(b); m != nil && !strings.HasSuffix(f, "_test.go") {
			t.Errorf("%s uses %s", f, m)
		}
	}
}

// TestNoVagueNames: a package is named after what it knows.
func TestNoVagueNames(t *testing.T) {
	for _, p := range packages(t) {
		if slices.Contains([]string{"types", "util", "utils", "common", "helper", "helpers", "engine", "mock", "mocks"}, filepath.Base(p.path)) {
			t.Errorf("package %s: the name says nothing", p.path)
		}
	}
}

// TestDocuments holds the documents to what is there: links lead somewhere, and make targets exist.
func TestDocuments(t *testing.T) {
	docs, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	docs = append(docs, "README.md", "ARCHITECTURE.md", "CHANGELOG.md")
	examples, _ := filepath.Glob("examples/*/README.md")
	docs = append(docs, examples...)
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#]+?)(#[^)]*)?\)`)
	target := regexp.MustCompile("`make ([a-z-]+)`|(?m)^make ([a-z-]+)")
	for _, doc := range docs {
		b, err := os.ReadFile(doc)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, m := range link.FindAllSubmatch(b, -1) {
			to := string(m[1])
			if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), to)); err != nil {
				t.Errorf("%s links to %s, which is not there", doc, to)
			}
		}
		for _, m := range target.FindAllSubmatch(b, -1) {
			name := string(m[1]) + string(m[2])
			if !regexp.MustCompile(`(?m)^` + name + `:`).Match(makefile) {
				t.Errorf("%s speaks of make %s, which the Makefile does not have", doc, name)
			}
		}
	}
}
