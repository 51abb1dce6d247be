package alertmanager

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	yamlv2 "gopkg.in/yaml.v2"
	"pgregory.net/rapid"

	"tocsin/oncall"
	"tocsin/problem"
)

// cases are configurations with what is to be said of them: "" for nothing.
var cases = []struct{ name, text, want string }{
	{"smallest", "route: {receiver: r}\nreceivers: [{name: r}]\n", ""},
	{"json", `{"route": {"receiver": "r"}, "receivers": [{"name": "r", "webhook_configs": [{"url": "http://x/"}]}]}`, ""},
	{"comments and quotes", "# a\nroute: # b\n  receiver: 'r#1' # c\nreceivers:\n- name: \"r#1\"\n", ""},
	{"anchors", "x: &x {receiver: r}\n", "there is no route"},
	{"anchored", "route:\n  receiver: &r r\n  routes:\n  - receiver: *r\n    matchers: &m [a=b]\n  - matchers: *m\nreceivers:\n- name: *r\n", ""},
	{"merge", "route:\n  receiver: r\n  routes:\n  - &base {receiver: r, group_wait: 1s}\n  - <<: *base\n    matchers: [a=b]\nreceivers: [{name: r}]\n", ""},
	{"block text", "route: {receiver: r}\nreceivers:\n- name: r\n  email_configs:\n  - to: a@b\n    from: c@d\n    smarthost: h:25\n    text: |\n      {{ range .Alerts }}\n      : , [ ] { } # ' \"\n      {{ end }}\n", ""},
	{"all of a route", `route:
  receiver: r
  group_by: [a, b]
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 1h
  labels: {owner: '{{ .GroupLabels.team }}'}
  routes:
  - match: {a: b}
    match_re: {c: d.*}
    matchers: ['e!=f', 'g=~"h,i"', "{j=k, l!~m}"]
    continue: true
    mute_time_intervals: [night]
    active_time_intervals: [day]
    routes:
    - group_by: ['...']
  - group_by: []
receivers: [{name: r}]
mute_time_intervals: [{name: night, time_intervals: [{times: [{start_time: '22:00', end_time: '24:00'}]}]}]
time_intervals: [{name: day, time_intervals: [{weekdays: ['monday:friday'], location: Europe/Madrid}]}]
inhibit_rules:
- source_match: {severity: critical}
  source_match_re: {a: b|c}
  target_match: {severity: warning}
  target_match_re: {a: b|c}
  equal: [service]
- name: two
  source_matchers: [severity=critical]
  target_matchers: [severity=warning]
`, ""},
	{"no route", "receivers: [{name: r}]\n", "there is no route"},
	{"route is null", "route:\nreceivers: [{name: r}]\n", "1:7: there is no route"},
	{"route is a list", "route: []\nreceivers: [{name: r}]\n", "1:8: expected a mapping, found a list"},
	{"no receiver", "route: {group_wait: 1s}\nreceivers: [{name: r}]\n", "1:8: root route must specify a default receiver"},
	{"unknown receiver", "route:\n  receiver: r\n  routes:\n  - receiver: tema\nreceivers: [{name: r}, {name: team}]\n", `4:15: unknown receiver "tema" (did you mean "team"?)`},
	{"unknown key of a route", "route: {receiver: r, group-by: [a]}\nreceivers: [{name: r}]\n", `1:22: unknown key "group-by" (did you mean "group_by"?)`},
	{"unknown key of a receiver", "route: {receiver: r}\nreceivers:\n- name: r\n  webhook_config: []\n", `4:3: unknown key "webhook_config" (did you mean "webhook_configs"?)`},
	{"unknown key of an integration", "route: {receiver: r}\nreceivers:\n- name: r\n  slack_configs:\n  - chanel: x\n    api_url: http://x/\n", `5:5: unknown key "chanel" (did you mean "channel"?)`},
	{"key given twice", "route: {receiver: r}\nreceivers:\n- name: r\n  name: q\n", `4:3: the key "name" is given twice`},
	{"wrong type", "route: {receiver: r, continue: maybe}\nreceivers: [{name: r}]\n", "1:32: expected true or false, found a string"},
	{"bad duration", "route:\n  receiver: r\n  group_wait: soon\nreceivers: [{name: r}]\n", `3:15: not a valid duration string: "soon"`},
	{"zero interval", "route:\n  receiver: r\n  routes:\n  - group_interval: 0s\nreceivers: [{name: r}]\n", "4:21: group_interval cannot be zero"},
	{"bad expression", "route:\n  receiver: r\n  routes:\n  - match_re: {a: '('}\nreceivers: [{name: r}]\n", "4:19: error parsing regexp"},
	{"bad matcher", "route:\n  receiver: r\n  routes:\n  - matchers:\n    - a=b\n    - '=c'\nreceivers: [{name: r}]\n", "6:7: bad matcher format: =c"},
	{"root with matchers", "route: {receiver: r, match: {a: b}}\nreceivers: [{name: r}]\n", "1:22: root route must not have any matchers"},
	{"root continues", "route: {receiver: r, continue: true}\nreceivers: [{name: r}]\n", "1:22: cannot have continue in root route"},
	{"root muted", "route: {receiver: r, mute_time_intervals: [a]}\nreceivers: [{name: r}]\n", "1:22: root route must not have any mute time intervals"},
	{"unknown interval", "route:\n  receiver: r\n  routes:\n  - mute_time_intervals: [nigt]\nreceivers: [{name: r}]\ntime_intervals: [{name: night, time_intervals: []}]\n", `4:27: unknown time interval "nigt" (did you mean "night"?)`},
	{"bad interval", "route: {receiver: r}\nreceivers: [{name: r}]\ntime_intervals:\n- name: a\n  time_intervals:\n  - weekdays: [someday]\n", "6:16: someday is not a valid weekday"},
	{"two receivers", "route: {receiver: r}\nreceivers:\n- name: r\n- name: r\n", `4:9: receiver "r" is defined twice (the first one is on line 3)`},
	{"receiver without a name", "route: {receiver: r}\nreceivers:\n- name: r\n- webhook_configs: []\n", "4:3: missing name in receiver"},
	{"Slack without a URL", "route: {receiver: r}\nreceivers:\n- name: r\n- name: s\n  slack_configs:\n  - channel: '#a'\n", "no Slack API URL nor App token set"},
	{"mail without a host", "route: {receiver: r}\nreceivers:\n- name: r\n  email_configs: [{to: a@b}]\n", "no global SMTP smarthost set"},
	{"two ways", "route: {receiver: r}\nreceivers:\n- name: r\n  pagerduty_configs: [{routing_key: a, routing_key_file: b}]\n", "at most one of routing_key & routing_key_file must be configured"},
	{"bad URL", "route: {receiver: r}\nreceivers:\n- name: r\n  webhook_configs: [{url: 'hooks.example/x'}]\n", "4:27: invalid URL: unsupported scheme"},
	{"bad label", "route: {receiver: r, group_by: [a, a]}\nreceivers: [{name: r}]\n", `duplicated label "a" in group_by`},
	{"wildcard and labels", "route: {receiver: r, group_by: ['...', a]}\nreceivers: [{name: r}]\n", "cannot have wildcard group_by"},
	{"empty integration", "route: {receiver: r}\nreceivers:\n- name: r\n  webhook_configs: [~]\n", "missing webhook config"},
	{"bad global", "global: {resolve_timeout: 5}\nroute: {receiver: r}\nreceivers: [{name: r}]\n", `1:27: not a valid duration string: "5"`},
	{"two secrets", "global: {opsgenie_api_key: hunter2, opsgenie_api_key_file: b}\nroute: {receiver: r}\nreceivers: [{name: r}]\n", "at most one of opsgenie_api_key & opsgenie_api_key_file"},
	{"receivers are a mapping", "route: {receiver: r}\nreceivers: {name: r}\n", "2:12: expected a list, found a mapping"},
	{"secret of the wrong type", "global: {slack_api_url: [hunter2]}\nroute: {receiver: r}\nreceivers: [{name: r}]\n", "1:25: expected a string, found a list"},
}

// TestDecode: every file is accepted or refused as by Alertmanager, and problems say where.
func TestDecode(t *testing.T) {
	defaultMode()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, problems := decoded(t, c.text, nil)
			agree(t, c.text, got, problems)
			if err := problems.Err(); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
			for _, p := range problems {
				if strings.Contains(fmt.Sprint(p), "hunter2") {
					t.Errorf("a secret is shown: %+v", p)
				}
				if strings.Contains(c.text, p.Source) == (p.Source == "") && p.Line > 0 && !strings.Contains(p.Source, "<secret>") && !strings.Contains(p.Source, "…") {
					t.Errorf("misplaced: %+v", p)
				}
			}
		})
	}
}

// agree holds a decoding to Alertmanager's own of the same text.
func agree(t *testing.T, text string, got *Config, problems problem.List) {
	t.Helper()
	theirs, err := loadText(text)
	if (err == nil) != (got != nil) {
		t.Errorf("Alertmanager says %v, tocsin says %v", err, problems)
	}
	if got == nil || err != nil {
		return
	}
	// Names of files are made absolute: that is all that differs.
	want, have := lines(theirs.String()), lines(got.Original())
	for _, l := range have {
		if !slices.Contains(want, l) && !strings.Contains(l, ".tmpl") && !strings.Contains(l, "_file: ") {
			t.Errorf("not in Alertmanager's: %q", l)
		}
	}
	if again, err := loadText(got.Original()); err != nil || len(again.Receivers) != len(theirs.Receivers) {
		t.Errorf("what is shown is not read again: %v", err)
	}
	sameRoutes(t, dispatch.NewRoute(theirs.Route, nil), got.Routing().Root)
}

func lines(s string) []string { return strings.Split(s, "\n") }

func sameRoutes(t *testing.T, want *dispatch.Route, got *oncall.Route) {
	t.Helper()
	if got.ID != want.ID() || got.Key != want.Key() || got.Index != want.Idx || got.Receiver != want.RouteOpts.Receiver || len(got.Routes) != len(want.Routes) ||
		got.GroupByAll != want.RouteOpts.GroupByAll || len(got.GroupBy) != len(want.RouteOpts.GroupBy) || got.GroupWait != want.RouteOpts.GroupWait {
		t.Errorf("route %+v, want %s %s %d", got, want.ID(), want.Key(), want.Idx)
		return
	}
	for i := range got.Routes {
		sameRoutes(t, want.Routes[i], got.Routes[i])
	}
}

// TestALargeFile: one mistake among thousands of routes is found, and soon.
func TestALargeFile(t *testing.T) {
	var b strings.Builder
	b.WriteString("route:\n  receiver: r\n  routes:\n")
	for i := range 5000 {
		value := fmt.Sprint("1", i)
		if i == 3456 {
			value = "0s"
		}
		fmt.Fprintf(&b, "  - matchers: [team=t%d]\n    group_interval: %s\n", i, strings.TrimSuffix(value, "s")+"s")
	}
	b.WriteString("receivers: [{name: r}]\n")
	c, problems := decoded(t, b.String(), nil)
	if c != nil || len(problems) != 1 || problems[0].Line != 3+2*3457 || !strings.Contains(problems[0].Message, "group_interval cannot be zero") {
		t.Error(problems)
	}
}

// TestTheirTestdata decodes the files with which Alertmanager tests its own parser.
func TestTheirTestdata(t *testing.T) {
	defaultMode()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/prometheus/alertmanager").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "config/testdata/*.yml"))
	more, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "doc/examples/*.yml"))
	if files = append(files, more...); len(files) < 30 {
		t.Fatalf("%d files", len(files))
	}
	placed := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			d, problems := problem.Parse("am.yml", text)
			if d.Root == nil {
				t.Fatal(problems)
			}
			c, problems := Decode(d, true)
			agree(t, string(text), c, problems)
			for _, p := range problems.Errors() {
				if p.Line > 0 {
					placed++
				}
				t.Log(p)
			}
		})
	}
	if placed < 25 {
		t.Errorf("only %d problems have a place", placed)
	}
}

// TestOursBesideTheirs: what is ours does not reach Alertmanager's parser, and lines stay right.
func TestOursBesideTheirs(t *testing.T) {
	text := `prometheus: {url: http://x}
escalations: [{name: default, tiers: [{slack: '#a'}]}]
receivers:
- page_configs: [{url: https://sms.example/send, secret_env: X}]
  escalation: default
  name: r
- {name: s, escalation: default}
- name: t
  webhook_configs: [{ulr: x}]
`
	d, _ := problem.Parse("t.yml", []byte(text))
	if _, problems := Decode(d, false); len(problems) != 1 || problems[0].Line != 9 || problems[0].Column != 22 {
		t.Error(problems)
	}
	d, _ = problem.Parse("t.yml", []byte(strings.Replace(text, "ulr: x", "url: http://x/", 1)))
	c, problems := Decode(d, false)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if r := c.Receivers(); len(r) != 3 || r[0].Name != "r" || len(r[2].Integrations) != 1 || r[2].Integrations[0].Endpoint != "webhook_configs:t/0" || !r[2].Integrations[0].SendResolved {
		t.Errorf("%+v", r)
	}
	if c.Routing().Root != nil {
		t.Error("a route was made up")
	}
	shown := c.Original()
	if loaded, err := config.Load(shown); err != nil || loaded.Route.Receiver != Nobody || strings.Contains(shown, "page_configs") {
		t.Errorf("%v\n%s", err, shown)
	}
	d, _ = problem.Parse("t.yml", []byte("prometheus: {url: http://x}\n"))
	if c, problems := Decode(d, false); c != nil || len(problems) > 0 {
		t.Error(c, problems)
	}
	if _, err := config.Load((*Config)(nil).Original()); err != nil {
		t.Error(err)
	}
}

// TestTemplateFiles: templates that do not parse are errors at their place; texts that do not are warnings.
func TestTemplateFiles(t *testing.T) {
	good := "templates: ['*.tmpl', 'gone/*']\n" + oneReceiver + "  webhook_configs: [{url: http://x/}]\n"
	c, problems := decoded(t, good, map[string]string{"a.tmpl": `{{ define "a" }}{{ end }}`})
	if c == nil || len(c.TemplateFiles()) != 1 || len(problems) != 1 || !strings.Contains(problems[0].Message, "no file matches") {
		t.Error(c, problems)
	}
	c, problems = decoded(t, good, map[string]string{"a.tmpl": "{{ define \"a\" }}\n{{ if }}{{ end }}"})
	if c != nil || len(problems.Errors()) != 1 || !strings.HasSuffix(problems.Errors()[0].File, "a.tmpl") || problems.Errors()[0].Line != 2 {
		t.Error(c, problems)
	}
	c, problems = decoded(t, oneReceiver+"  slack_configs:\n  - api_url: http://x/\n    title: 'a {{ .Foo'\n    fields: [{title: a, value: '{{ nope }}'}]\n", nil)
	if c == nil || len(problems) != 2 || problems[0].Line != 6 && problems[1].Line != 6 {
		t.Error(c, problems)
	}
}

// TestEveryIntegration: each list of a receiver is known, and has texts to fall back on; each HTTP client can be tapped.
func TestEveryIntegration(t *testing.T) {
	typ := reflect.TypeFor[config.Receiver]()
	for i := range typ.NumField() {
		key, _ := yamlKey(typ.Field(i))
		if strings.HasSuffix(key, "_configs") && (!slices.Contains(integrationLists, key) || ownTexts()[key] == nil) {
			t.Errorf("%s is not known", key)
		}
	}
	t.Setenv("AWS_CA_BUNDLE", "") // with it, SNS has an HTTP client of Amazon's
	c, _ := decoded(t, bare, nil)
	if _, err := loadText(c.Original()); err != nil {
		t.Errorf("what is shown is not read again: %v", err)
	}
	s := newSenders(t, bare, nil)
	for endpoint, i := range s.integrations {
		if (clientOf(&i.sender) == nil) != (i.list == "email_configs") {
			t.Errorf("%s: its HTTP client is not where it was", endpoint)
		}
		if i.custom {
			t.Errorf("%s: its texts are Alertmanager's own: %v", endpoint, textsIn(i.conf))
		}
	}
	if len(s.integrations) != len(integrationLists) {
		t.Error(len(s.integrations))
	}
}

// TestEmit: what is written down again means the same, and every key keeps its line.
func TestEmit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anyValue(3).Draw(t, "value")
		source, err := yamlv2.Marshal(yamlv2.MapSlice{{Key: "top", Value: v}})
		if err != nil {
			t.Skip("not YAML")
		}
		sameMeaning(t, source)
	})
}

type fataler interface{ Fatalf(string, ...any) }

func sameMeaning(t fataler, source []byte) {
	d, problems := problem.Parse("f", source)
	// The tag "!" alone cannot be told from none, and is not kept.
	if d.Root == nil || len(problems) > 0 || strings.Contains(string(source), "! ") {
		return
	}
	text, err := emit(d.Root, nil, nil)
	if err != nil {
		return
	}
	var want, got any
	if yamlv2.Unmarshal(source, &want) != nil {
		return
	}
	if err := yamlv2.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v\n%q\n%q", err, source, text)
	}
	if diff := cmp.Diff(fmt.Sprintf("%#v", want), fmt.Sprintf("%#v", got)); diff != "" {
		t.Fatalf("%s\n%q\n%q", diff, source, text)
	}
}

func anyValue(depth int) *rapid.Generator[any] {
	leaf := rapid.OneOf(rapid.String().AsAny(), rapid.Int().AsAny(), rapid.Bool().AsAny(),
		rapid.SampledFrom([]any{"yes", "~", "0x1f", "1e3", "2020-01-01", "a: b", "- x", "{{ x }}", "a #b", "multi\nline\n", "[", ",", ":", "?", "", nil, "'", "\"", "a, b", "<<", "*a", "&a", "!x", "%x", "@", "`"}))
	if depth == 0 {
		return leaf
	}
	below := rapid.Deferred(func() *rapid.Generator[any] { return anyValue(depth - 1) })
	return rapid.OneOf(leaf, rapid.SliceOfN(below, 0, 4).AsAny(), rapid.MapOfN(rapid.StringMatching(`[a-z_:# ,\[]{1,8}`), below, 0, 4).AsAny())
}

func FuzzDecode(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 4<<10 {
			return
		}
		sameMeaning(t, text)
		d, _ := problem.Parse("f.yml", text)
		if d.Root == nil {
			return
		}
		c, problems := Decode(d, true)
		if (c == nil) != (len(problems.Errors()) > 0) {
			t.Errorf("%v %v", c, problems)
		}
	})
}
