package pager

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// keysOf are the keys of a block of the configuration, those of blocks in it too.
func keysOf(t reflect.Type, into map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		keysOf(t.Elem(), into)
	case reflect.Struct:
		if f, ok := t.FieldByName("Value"); ok { // problem.At
			keysOf(f.Type, into)
			return
		}
		if t == reflect.TypeFor[yaml.Node]() {
			return
		}
		for i := range t.NumField() {
			f := t.Field(i)
			if key, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); key != "" {
				into[key] = true
				keysOf(f.Type, into)
			}
		}
	}
}

var (
	fence   = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	rowKeys = regexp.MustCompile("(?m)^\\| (`[a-z_`, ]+`) \\|")
	keyWord = regexp.MustCompile("`([a-z_]+)`")
)

// TestKeysAreDocumented: every key of our own blocks is in the page about it, and the page shows none that is not there.
func TestKeysAreDocumented(t *testing.T) {
	for _, test := range []struct {
		page, block string // the page, and the key that holds the block
		of          any
	}{
		{"ntfy.md", "ntfy_configs", ntfyBlock{}},
		{"phone.md", "twilio_configs", twilioBlock{}},
		{"pagerduty.md", "pagerduty_webhook", hookBlock{}},
		{"opsgenie.md", "opsgenie_webhook", hookBlock{}},
		{"paging-webhook.md", "page_configs", block{}},
	} {
		t.Run(test.page, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("..", "..", "docs", test.page))
			if err != nil {
				t.Fatal(err)
			}
			text, known, shown := string(b), map[string]bool{}, map[string]bool{}
			keysOf(reflect.TypeOf(test.of), known)
			for _, f := range fence.FindAllStringSubmatch(text, -1) {
				var n yaml.Node
				if err := yaml.Unmarshal([]byte(f[1]), &n); err != nil {
					t.Fatalf("%v in\n%s", err, f[1])
				}
				below(&n, test.block, shown)
			}
			for _, row := range rowKeys.FindAllStringSubmatch(text, -1) {
				if test.page != "ntfy.md" && test.page != "phone.md" {
					break // their tables are about what a far end shows
				}
				for _, k := range keyWord.FindAllStringSubmatch(row[1], -1) {
					shown[k[1]] = true
				}
			}
			for _, key := range slices.Sorted(maps.Keys(known)) {
				if !shown[key] && !strings.Contains(text, "`"+key+"`") && !strings.Contains(text, "`"+key+":") {
					t.Errorf("it says nothing of %s", key)
				}
			}
			for _, key := range slices.Sorted(maps.Keys(shown)) {
				if !known[key] {
					t.Errorf("it shows %s, which is no key", key)
				}
			}
		})
	}
}

// below collects the keys in what stands under a key. Under severities and users there are words of the user's.
func below(n *yaml.Node, block string, into map[string]bool) {
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == block {
			all(c, into)
			continue
		}
		below(c, block, into)
	}
}

func all(n *yaml.Node, into map[string]bool) {
	for i, c := range n.Content {
		if n.Kind != yaml.MappingNode {
			all(c, into)
			continue
		}
		if i%2 == 1 {
			continue
		}
		into[c.Value] = true
		switch value := n.Content[i+1]; c.Value {
		case "users", "http_config":
		case "severities":
			for j := 1; j < len(value.Content); j += 2 {
				all(value.Content[j], into)
			}
		default:
			all(value, into)
		}
	}
}
