package problem

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

type shape struct {
	Name   At[string]        `yaml:"name"`
	Wait   time.Duration     `yaml:"wait"`
	Count  int               `yaml:"count"`
	On     bool              `yaml:"on"`
	Labels map[string]string `yaml:"labels"`
	To     Strings           `yaml:"to"`
	Parts  []part            `yaml:"parts"`
	Raw    *yaml.Node        `yaml:"raw"`
	Inner  `yaml:",inline"`
	HTTP   promconfig.HTTPClientConfig `yaml:"http"`
}

type Inner struct {
	Deep string `yaml:"deep"`
}

type part struct {
	After time.Duration `yaml:"after"`
}

func (part) ExplainKey(key string) (string, string) {
	if key == "password" {
		return LiteralSecret(key)
	}
	return "", ""
}

func printed(t *testing.T, l List) string {
	t.Helper()
	var b strings.Builder
	if err := l.Sort().Print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDecode(t *testing.T) {
	src := `
base: &base {after: 1m}
name: tocsin
wait: 1d
count: 3
on: true
labels: {a: 1, b: yes}
to: one
parts:
- *base
- <<: *base
- {<<: *base, after: 2s}
raw: [x]
deep: d
`
	d, problems := Parse("a.yml", []byte(strings.Replace(src, "base: &base {after: 1m}", "", 1)))
	if d.Root != nil || len(problems) != 1 || !strings.Contains(problems[0].Message, "unknown anchor") || problems[0].Line != 10 {
		t.Fatalf("unknown anchor: %v", problems)
	}
	d, problems = Parse("a.yml", []byte(src))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var s struct {
		Base  part  `yaml:"base"`
		Shape shape `yaml:",inline"`
	}
	if l := d.Decode(d.Root, &s); len(l) > 0 {
		t.Fatal(printed(t, l))
	}
	got := s.Shape
	if got.Name.Place.Line != 3 || got.Name.Place.Column != 7 || !got.Name.IsSet() || got.Raw.Kind != yaml.SequenceNode {
		t.Errorf("places: %+v", got.Name)
	}
	want := []part{{time.Minute}, {time.Minute}, {2 * time.Second}}
	if diff := cmp.Diff(want, got.Parts); diff != "" {
		t.Error(diff)
	}
	if got.Wait != 24*time.Hour || got.Labels["a"] != "1" || got.Labels["b"] != "yes" || got.To[0].Value != "one" || got.Deep != "d" {
		t.Errorf("got %+v", got)
	}
}

func TestDecodeProblems(t *testing.T) {
	src := `nmae: x
wait: 30
count: many
on: maybe
count: 4
labels: [a]
to: {a: b}
parts:
- after: [1]
- password: hunter2-first
-
http:
  follow_redirect: true
  proxy_url: "http://me:hunter2@bad host"
  tls_config: {min_version: SSL}
`
	d, _ := Parse("b.yml", []byte(src))
	var s shape
	got := printed(t, d.Decode(d.Root, &s))
	want := `b.yml:1:1: unknown key "nmae"
    nmae: …
    ^
    did you mean "name"?
b.yml:2:7: expected a duration such as 30s, found "30"
    wait: 30
          ^
    did you mean "30s"? a duration needs a unit: ms, s, m, h, d, w or y
b.yml:3:8: expected a whole number, found "many"
    count: many
           ^
b.yml:4:5: expected true or false, found "maybe"
    on: maybe
        ^
b.yml:5:1: the key "count" is given twice
    count: 4
    ^
    the first one is on line 3
b.yml:6:9: expected a mapping of names to values, found a list
    labels: [a]
            ^
b.yml:7:5: expected a string or a list of strings, found a mapping
    to: {a: b}
        ^
b.yml:9:10: expected a duration such as 30s, found a list
    - after: [1]
             ^
b.yml:10:3: "password" would put a secret into the configuration
    - password: …
      ^
    put it into a file and use "password_file", or into the environment and use "password_env"
b.yml:11:2: empty list item
    -
     ^
b.yml:13:3: unknown key "follow_redirect"
      follow_redirect: …
      ^
    did you mean "follow_redirects"?
b.yml:14:14: expected a URL such as http://127.0.0.1:9090
      proxy_url: "http://<secret>@bad host"
                 ^
b.yml:15:29: unknown TLS version: SSL
      tls_config: {min_version: SSL}
                                ^
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSyntax(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"tab", "a:\n\tb: 1\n", ":2:1: not valid YAML"},
		{"tab in a block", "a:\n- b: 1\n\tc: 2\n", "f:3:1: not valid YAML: found a tab character that violates indentation (YAML does not allow tabs"},
		{"tab after blanks", "a:\n  - b: 1\n  \tc: 2\n", "f:3:3: not valid YAML"},
		{"indentation", "a:\n  b: 1\n c: 2\n", ":3:2: not valid YAML"},
		{"colon", "a: b: c\n", ":1:1: not valid YAML"},
		{"colon later", "x: 1\na: b: c\n", ":2:1: not valid YAML"},
		{"quote", "x: 1\ny: 2\na: \"b\nc: 1\n", ":3:1: not valid YAML"},
		{"bracket", "x: 1\ny: 2\na: [1, 2\nc: 1\n", ":3:1: not valid YAML"},
		{"two documents", "x: 1\n---\ny: 2\n", "more than one YAML document"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, l := Parse("f", []byte(c.src))
			if d.Root != nil || len(l) != 1 || !strings.Contains(l[0].Error(), c.want) {
				t.Errorf("got %v, want %s", l, c.want)
			}
		})
	}
	if d, l := ParseFirst("f", []byte("x: 1\n---\ny: 2\n")); d.Root == nil || len(l) != 1 || !l[0].Warning {
		t.Errorf("ParseFirst: %v", l)
	}
}

func TestAliasBomb(t *testing.T) {
	src := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 9; i++ {
		ref := "*a" + string(rune('0'+i-1))
		src += "a" + string(rune('0'+i)) + ": &a" + string(rune('0'+i)) + " [" + strings.Repeat(ref+", ", 9) + ref + "]\n"
	}
	d, l := Parse("f", []byte(src))
	if len(l) > 0 {
		t.Fatal(l)
	}
	var into struct {
		A [][][][][][][][][]string `yaml:"a8"`
	}
	if got := printed(t, d.Decode(d.Root, &into)); !strings.Contains(got, "too large") {
		t.Error(got)
	}
}

func TestNearest(t *testing.T) {
	candidates := []string{"receivers", "route", "users", "escalations"}
	for name, want := range map[string]string{
		"recievers": "receivers", "Users": "users", "escalation": "escalations", "zebra": "", "uesrs": "users", "x": "",
	} {
		if got := Nearest(name, candidates); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := []rune(rapid.String().Draw(t, "a")), []rune(rapid.String().Draw(t, "b"))
		ab, ba := distance(a, b, 1000), distance(b, a, 1000)
		if ab != ba || (ab == 0) != (string(a) == string(b)) || ab > max(len(a), len(b)) {
			t.Fatalf("distance %d, %d", ab, ba)
		}
	})
}

func TestOffset(t *testing.T) {
	src := "a: up > 1\nb: 'up > 1'\nc: |\n  up\n    > 1\nd: >-\n  up\n  > 1\ne: up\n  > 1\nf: \"\\u0075p > 1\"\n"
	d, l := Parse("f", []byte(src))
	if len(l) > 0 {
		t.Fatal(l)
	}
	want := map[string][2]int{"a": {1, 7}, "b": {2, 8}, "c": {5, 5}, "d": {8, 3}, "e": {10, 3}, "f": {11, 4}}
	for i := 0; i < len(d.Root.Content); i += 2 {
		key, n := d.Root.Content[i].Value, d.Root.Content[i+1]
		at := d.Offset(n, strings.Index(n.Value, ">"))
		if got := [2]int{at.Line, at.Column}; key != "f" && got != want[key] || key == "f" && got != [2]int{11, 4} {
			t.Errorf("%s: %v, want %v", key, got, want[key])
		}
	}
}

// TestOffsetAtTheEnd: what is missing at the end of a text is missing there, not where the next key stands.
func TestOffsetAtTheEnd(t *testing.T) {
	src := "a: up ==\nb: 'up =='\nc: |\n  up\n  ==\n\nd: >-\n  up\n  ==\ne: up == # remark\nf: ''\ng: up ==\r\nh: up ==\n"
	d, l := Parse("f", []byte(src))
	if len(l) > 0 {
		t.Fatal(l)
	}
	want := map[string][2]int{"a": {1, 9}, "b": {2, 10}, "c": {5, 5}, "d": {9, 5}, "e": {10, 9}, "f": {11, 4}, "g": {12, 9}, "h": {13, 9}}
	for i := 0; i < len(d.Root.Content); i += 2 {
		key, n := d.Root.Content[i].Value, d.Root.Content[i+1]
		at := d.Offset(n, len(n.Value))
		if got := [2]int{at.Line, at.Column}; got != want[key] {
			t.Errorf("%s: %v, want %v", key, got, want[key])
		}
	}
}

// TestUnquotedTemplate: what YAML makes of {{ }} is not what people see in it.
func TestUnquotedTemplate(t *testing.T) {
	d, _ := Parse("f", []byte("labels:\n  a: {{ $value }}\n  b: {c: d}\n"))
	var s shape
	got := printed(t, d.Decode(d.Root, &s))
	if strings.Count(got, "put the text into quotes") != 1 || !strings.Contains(got, "f:2:6: expected a string, found a mapping") {
		t.Error(got)
	}
}

func TestSecret(t *testing.T) {
	files := map[string]string{"dir/ok": "  s3cret\n", "dir/empty": "\n", "dir/two": "a\nb"}
	d, _ := Parse("dir/c.yml", []byte("x_file: ok\n"))
	d.Read = func(name string) ([]byte, error) {
		if s, ok := files[name]; ok {
			return []byte(s), nil
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	d.Getenv = func(k string) string { return map[string]string{"SET": "v"}[k] }
	at := func(s string) At[string] {
		return At[string]{Value: s, Place: Place{File: "dir/c.yml", Line: 1, Column: 9}}
	}
	none := At[string]{}
	for _, c := range []struct {
		file, env      At[string]
		secret, refuse string
	}{
		{at("ok"), none, "s3cret", ""},
		{none, at("SET"), "v", ""},
		{none, none, "", "x_file is required"},
		{at("ok"), at("SET"), "", "both set"},
		{at("gone"), none, "", "cannot read the secret file dir/gone: it does not exist"},
		{at("empty"), none, "", "is empty"},
		{at("two"), none, "", "one line"},
		{none, at("UNSET"), "", "not set"},
		{at(""), none, "", "expected the name"},
	} {
		got, l := d.Secret(Place{File: "dir/c.yml", Line: 1, Column: 1}, "x", c.file, c.env)
		if got != c.secret || (c.refuse == "") != (len(l) == 0) || len(l) > 0 && !strings.Contains(l[0].Message, c.refuse) {
			t.Errorf("%v %v: %q %v", c.file, c.env, got, l)
		}
	}
	if err := (List{{File: "a", Message: "m"}}).Err(); err == nil || errors.Is(err, fs.ErrExist) {
		t.Error("Err")
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	for _, src := range []string{
		"bot_token: hunter2\n", "bot_token:\n  hunter2\nx: 1\n", "a: {x: 1, bot_token: hunter2, y: 2}\n",
		"bot_token: |\n  a\n  hunter2\nx: 1\n", "headers: {X-Key: hunter2}\n", "http_headers:\n  X-Key:\n    values: [hunter2]\n",
		"url: http://me:hunter2@host/\n", "url: http://host/?key=hunter2\n", "# password: hunter2\n", "x: xoxb-hunter2\n",
		"signing_secret: hunter2: x\n", "pasword: hunter2\n", "a: {bottoken: hunter2}\n", "a: [whsec_hunter2\n", "bot_token: [a, {b: hunter2}]\n",
	} {
		d, _ := Parse("f", []byte(src))
		for line := range d.lines {
			if p := d.place(line+1, 1); strings.Contains(p.Source, "hunter2") {
				t.Errorf("%q is shown as %q", src, p.Source)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "name: x\nwait: 5m\n", "a: &a {b: *a}\n", "parts: [{after: 1s}, ~]\n", "<<: [{name: x}]\n", "to: [a, b]\nhttp: {tls_config: {}}", "? {a: b}\n: c\n", "x: |\n  é\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		d, l := Parse("f.yml", src)
		if d.Root != nil {
			var s shape
			l = append(l, d.Decode(d.Root, &s)...)
			for _, n := range d.Root.Content {
				d.Offset(n, len(n.Value)/2)
			}
		}
		for _, p := range l {
			if p.Message == "" || p.Line > len(d.lines)+1 || p.Line > 0 && p.Column < 1 {
				t.Errorf("misplaced: %+v", p)
			}
		}
		printed(t, l)
	})
}
