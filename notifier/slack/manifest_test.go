package slack

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

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// called are the methods that the package's code names, apart from the table. The gate lets no other one through.
func called(t *testing.T) []string {
	t.Helper()
	method := regexp.MustCompile(`^(apps|auth|bots|chat|conversations|files|pins|reactions|team|usergroups|users|views)(\.[a-zA-Z]+)+$`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") || f == "methods.go" {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if s, err := strconv.Unquote(l.Value); err == nil && method.MatchString(s) {
					found[s] = true
				}
			}
			return true
		})
	}
	return slices.Sorted(maps.Keys(found))
}

// TestMethodsAreThoseInUse: each method that is called has its scopes in the table, and no other one does, so that the
// manifests ask for neither too much nor too little.
func TestMethodsAreThoseInUse(t *testing.T) {
	if diff := cmp.Diff(called(t), slices.Sorted(maps.Keys(methods))); diff != "" {
		t.Errorf("methods called (-) and methods in the table (+):\n%s", diff)
	}
	for _, s := range BotScopes() {
		if why[s] == "" {
			t.Errorf("the manifest does not say what the scope %s is for", s)
		}
	}
	if len(why) != len(BotScopes()) {
		t.Error("the manifest explains scopes that nothing uses")
	}
}

// TestManifests holds the examples to the code.
func TestManifests(t *testing.T) {
	for file, base := range map[string]string{"manifest-http.yml": "https://tocsin.example", "manifest-socket.yml": ""} {
		path, want := filepath.Join("..", "..", "examples", "slack", file), Manifest(base, DefaultCommand)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s (rewritten by -update):\n%s", file, diff)
		}
		var m struct {
			Features struct {
				Commands []struct{ Command, URL string } `yaml:"slash_commands"`
			}
			OAuth struct {
				Scopes struct{ Bot []string }
			} `yaml:"oauth_config"`
			Settings struct {
				Interactivity struct {
					Enabled bool   `yaml:"is_enabled"`
					URL     string `yaml:"request_url"`
				}
				Socket bool `yaml:"socket_mode_enabled"`
			}
		}
		if err := yaml.Unmarshal(got, &m); err != nil {
			t.Fatal(err)
		}
		c, i := m.Features.Commands[0], m.Settings.Interactivity
		if c.Command != "/tocsin" || !i.Enabled || m.Settings.Socket != (base == "") || (base != "") != (c.URL == base+"/slack/commands" && i.URL == base+"/slack/interactions") {
			t.Errorf("%s: %+v", file, m)
		}
		if diff := cmp.Diff(BotScopes(), m.OAuth.Scopes.Bot); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}
