package tocsin_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// metricName is what a metric of ours is called.
var metricName = regexp.MustCompile(`^tocsin_[a-z0-9_]+$`)

// declared returns the metrics that the program declares, with their types: the Name of a CounterOpts, a
// GaugeOpts or a HistogramOpts, and the name of a NewDesc, which is a gauge here.
func declared(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{"tocsin_build_info": "gauge"} // client_golang's collector makes up its name
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || len(d.Name()) > 1 && d.Name()[0] == '.') {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if name, kind := metricOf(n); metricName.MatchString(name) {
				found[name] = kind
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// metricOf returns the metric that a node declares.
func metricOf(n ast.Node) (name, kind string) {
	switch n := n.(type) {
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "NewDesc" && len(n.Args) > 0 {
			return literal(n.Args[0]), "gauge"
		}
	case *ast.CompositeLit:
		of, ok := n.Type.(*ast.SelectorExpr)
		if !ok {
			return "", ""
		}
		kind, ok := strings.CutSuffix(of.Sel.Name, "Opts")
		if !ok {
			return "", ""
		}
		for _, e := range n.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "Name" {
					return literal(kv.Value), strings.ToLower(kind)
				}
			}
		}
	}
	return "", ""
}

func literal(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
		s, _ := strconv.Unquote(l.Value)
		return s
	}
	return ""
}

// TestMetricsAreDocumented holds docs/metrics.md to the metrics that the program declares, both ways. A name
// anywhere in the document must exist; a metric must have a row with its type.
func TestMetricsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics := declared(t)
	if len(metrics) < 20 {
		t.Fatalf("only %d metrics were found in the program", len(metrics))
	}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(tocsin_[a-z0-9_]+)` \\| ([a-z]+) \\|").FindAllStringSubmatch(string(b), -1) {
		rows[m[1]] = m[2]
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		switch kind, ok := rows[name]; {
		case !ok:
			t.Errorf("docs/metrics.md lacks %s: add the row | `%s` | %s | its labels | its meaning |", name, name, metrics[name])
		case kind != metrics[name]:
			t.Errorf("docs/metrics.md says that %s is a %s; it is a %s", name, kind, metrics[name])
		}
	}
	for _, name := range regexp.MustCompile(`\btocsin_[a-z0-9_]+\b`).FindAllString(string(b), -1) {
		if metrics[name] == "" && metrics[strings.TrimSuffix(name, "_bucket")] != "histogram" {
			t.Errorf("docs/metrics.md speaks of %s, which the program does not have", name)
		}
	}
}
