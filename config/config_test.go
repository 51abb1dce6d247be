package config

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/oncall"
	"tocsin/problem"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func printed(t *testing.T, l problem.List) string {
	t.Helper()
	var b bytes.Buffer
	if err := l.Print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestBad compares what is said about broken configurations with what was said when somebody last looked.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal("no test files", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			plan, problems := Load(file)
			if (plan == nil) != (len(problems.Errors()) > 0) {
				t.Error("a plan goes with the absence of errors")
			}
			got := printed(t, problems)
			if strings.Contains(got, "hunter2") {
				t.Errorf("a secret was shown:\n%s", got)
			}
			golden := strings.TrimSuffix(file, ".yml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../examples/*/tocsin.yml")
	if err != nil || len(files) < 2 {
		t.Fatal("examples are missing", err)
	}
	for _, file := range files {
		plan, problems := Load(file)
		if len(problems) > 0 {
			t.Fatalf("%s", printed(t, problems))
		}
		for _, g := range plan.Rules.Groups {
			for _, r := range g.Rules {
				for _, name := range []string{"summary", "description", "runbook_url"} {
					if r.Annotations[name] == "" {
						t.Errorf("%s: %s has no %s: every page must explain itself", g.File, r.Alert, name)
					}
				}
			}
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(file), "README.md")); err != nil {
			t.Error(err)
		}
	}
}

func TestPlan(t *testing.T) {
	plan, problems := Load("../examples/session-service/tocsin.yml")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if plan.Prometheus.URL.String() != "http://127.0.0.1:9090" || plan.Prometheus.ExternalURL.String() != "http://127.0.0.1:9090" ||
		plan.Prometheus.Timeout != 10*time.Second || !plan.Prometheus.HTTP.EnableHTTP2 || !plan.Prometheus.HTTP.FollowRedirects ||
		plan.EvaluationInterval != 15*time.Second || plan.UnknownAfter != 0 || plan.ExternalLabels.String() != `{cluster="shop-1"}` ||
		plan.Slack.APIURL != "https://slack.com/api/" || plan.Slack.Command != "/tocsin" || len(plan.Hash) != 64 {
		t.Errorf("plan %+v", plan)
	}
	want := oncall.Escalation{Name: "session-oncall", GroupBy: []string{"service"}, AckTimeout: 30 * time.Minute, DeliverWithin: 30 * time.Second,
		Repeat: oncall.Repeat{Every: 30 * time.Minute, Times: 3},
		Tiers: []oncall.Tier{
			{Targets: []oncall.Target{{Kind: "slack", Name: "#session-alerts"}}},
			{After: 2 * time.Minute, Targets: []oncall.Target{{Kind: "user", Name: "ana"}}},
			{After: 10 * time.Minute, Targets: []oncall.Target{{Kind: "user", Name: "bo"}, {Kind: "user", Name: "chen"}, {Kind: "receiver", Name: "duty-manager"}}},
		}}
	if diff := cmp.Diff(want, plan.Policy.Escalations["session-oncall"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]oncall.Contact{{Slack: "dm"}}, plan.Policy.Users["chen"].Contacts); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"alertname"}, plan.Policy.Escalations["default"].GroupBy); diff != "" {
		t.Error(diff)
	}
	duty := plan.Pages["page:duty-manager/0"]
	if len(plan.Pages) != 3 || len(duty.Secrets) != 2 || duty.Timeout != 5*time.Second || duty.HTTP.FollowRedirects || plan.Rules.Refs != nil {
		t.Errorf("pages: %d, duty's secrets %d", len(plan.Pages), len(duty.Secrets))
	}
	if got := plan.Counts().String(); got != "6 rules in 2 groups of 2 files, 3 escalations, 3 users, 3 receivers" {
		t.Error(got)
	}
}

// files is a source that holds what a test says, and nothing of the machine.
type files map[string]string

func (f files) source() source {
	return source{
		read: func(name string) ([]byte, error) {
			if s, ok := f[filepath.ToSlash(name)]; ok {
				return []byte(s), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
		glob: func(pattern string) (names []string, err error) {
			for name := range f {
				if ok, err := filepath.Match(pattern, name); err != nil {
					return nil, err
				} else if ok {
					names = append(names, name)
				}
			}
			return names, nil
		},
		getenv: func(key string) string { return f["$"+key] },
	}
}

const small = `
prometheus: {url: http://127.0.0.1:9090/prom/}
rule_files: [r.yml, '*.yml', ./r.yml]
unknown_after: 1m
escalations: [{name: default, tiers: [{receiver: [p, q]}]}]
receivers:
- name: p
  page_configs: [{url: https://p.example/x, secret_env: PAGE}]
- name: q
  page_configs: [{url: https://q.example/x, secret_file: bare, http_config: {basic_auth: {username: u, password_file: pw}}}]
`

func smallFiles() files {
	key := "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	return files{"r.yml": "groups: [{name: g, rules: [{alert: A, expr: up == 0}]}]", "$PAGE": "whsec_" + key + "\n", "bare": key, "pw": "x"}
}

func TestLoadSmall(t *testing.T) {
	f := smallFiles()
	f["tocsin.conf"] = small
	plan, problems := load("tocsin.conf", f.source())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if len(plan.RuleFiles) != 1 || plan.Prometheus.URL.Path != "/prom" || plan.UnknownAfter != time.Minute || plan.Slack != nil {
		t.Errorf("%+v", plan)
	}
	for endpoint, want := range map[oncall.Endpoint]string{"page:p/0": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "page:q/0": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} {
		if got := plan.Pages[endpoint].Secrets; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q", endpoint, got)
		}
	}
	hash := plan.Hash
	f["r.yml"] += "\n"
	if again, _ := load("tocsin.conf", f.source()); again.Hash == hash {
		t.Error("the hash does not cover the rule file")
	}
}

// TestOneThingWrong changes one thing of a good configuration and says what must be reported, and where.
func TestOneThingWrong(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"unknown_after: 1m", "unknown_after: 0s", "4:16: expected a duration above 0"},
		{"unknown_after: 1m", "evaluation_interval: 15", "4:22: expected a duration such as 30s"},
		{"unknown_after: 1m", "external_labels: {__name__: x}", `4:19: invalid label name "__name__"`},
		{"unknown_after: 1m", "route: {receiver: pp}", `4:19: unknown receiver "pp" (did you mean "p"`},
		{"unknown_after: 1m", "route: {receiver: p, rotues: []}", `4:22: unknown key "rotues" (did you mean "routes"?)`},
		{"unknown_after: 1m", "route: {receiver: p, matchers: [a=b]}", `4:22: root route must not have any matchers`},
		{"unknown_after: 1m", "route: {receiver: p, routes: [{matchers: [a~b]}]}", `4:43: bad matcher format: a~b`},
		{"unknown_after: 1m", "route: {}", `4:8: root route must specify a default receiver`},
		{"http://127.0.0.1:9090/prom/", "ftp://x", "2:19: expected a URL"},
		{"http://127.0.0.1:9090/prom/", "http://u:hunter2@x", "2:19: the URL must hold no user and password"},
		{"http://127.0.0.1:9090/prom/", "http://x, timeout: 0s", "2:38: timeout must be above 0"},
		{"http://127.0.0.1:9090/prom/", "http://x, bearer_token_file: none", "2:48: cannot read the file none: it does not exist"},
		{"http://127.0.0.1:9090/prom/", "http://x, headers: {Host: y}", "2:45: the header Host cannot be set here"},
		{"http://127.0.0.1:9090/prom/", "http://x, basic_auth: {username: u}, bearer_token: hunter2", "2:13: the HTTP client settings do not work"},
		{"url: http://127.0.0.1:9090/prom/", "timeout: 1s", "2:13: prometheus needs a url"},
		{"prometheus: {url: http://127.0.0.1:9090/prom/}", "", ": the section prometheus is missing"},
		{"rule_files: [r.yml, '*.yml', ./r.yml]", "", ": rule_files is missing"},
		{"rule_files: [r.yml, '*.yml', ./r.yml]", "rule_files: []", "3:1: rule_files is missing"},
		{"rule_files: [r.yml, '*.yml', ./r.yml]", "rule_files:", "3:1: rule_files is missing"},
		{"unknown_after: 1m", "users: [{name: ana, contacts: [{after: 1m, receiver: p}, {receiver: q}]}]",
			"tocsin.conf:4:58: after must not decrease: the contact before it has 1m"},
		{"rule_files: [r.yml,", "rule_files: [no/*.yml,", "3:14: no rule file matches no/*.yml"},
		{"rule_files: [r.yml,", "rule_files: ['[',", `3:14: "[" is no valid pattern`},
		{"name: default", "name: other", `1:36: this alert names no escalation, and none is called "default"`},
		{"[p, q]", "[p, Q]", `5:54: unknown receiver "Q" (did you mean "q"?)`},
		{"[p, q]", "[p, p]", "5:54: receiver p is given twice in this tier"},
		{"{url: http://127.0.0.1:9090/prom/}", "[]", "2:13: prometheus lists no backend"},
		{"{url: http://127.0.0.1:9090/prom/}", "[{url: http://x}]", "2:14: this backend has no name"},
		{"{url: http://127.0.0.1:9090/prom/}", "[{name: a, url: http://x}, {name: a, url: http://y}]", `2:47: backend "a" is given twice (the first one is on line 2)`},
		{"{url: http://127.0.0.1:9090/prom/}", "[{name: a}]", "2:14: prometheus needs a url"},
		{"{url: http://127.0.0.1:9090/prom/}", "[{name: ' a', url: http://x}]", "2:21: a backend's name must be plain text"},
		{"http://127.0.0.1:9090/prom/", "http://x, compression: gzip", "2:42: expected auto, on or off"},
		{"{receiver: [p, q]}", "{user: ana}", `5:46: unknown user "ana"`},
		{"{receiver: [p, q]}", "{slack: '#a'}", `5:47: there is no section slack to reach "#a" with`},
		{"{receiver: [p, q]}", "{after: 1m}", "5:39: this tier tells nobody"},
		{"{receiver: [p, q]}", "{receiver: p, after: 1m}, {receiver: q}", "5:65: after must not decrease"},
		{"[p, q]}]", "[p, q], after: 5m}], repeat: {every: 5m, times: 1}", "5:87: every must be longer"},
		{"[p, q]}]", "[p, q]}], repeat: {every: 5m}", "5:68: times must be at least 1"},
		{"[p, q]}]", "[p, q]}], group_by: []", "5:70: group_by needs at least one label name"},
		{"name: q", "name: p", `9:9: receiver "p" is defined twice`},
		{"name: q", "name: \"a\\u0007\"", "9:9: the name of this receiver holds control characters"},
		{"secret_env: PAGE", "secret_env: NONE", "8:57: the environment variable NONE is not set"},
		{"secret_env: PAGE", "secret: hunter2", `8:45: "secret" would put a secret into the configuration`},
		{"secret_env: PAGE", "secret_file: pw", "8:58: the secret must be base64"},
		{", secret_env: PAGE", "", "8:18: secret_file is required"},
		{"{basic_auth: {username: u, password_file: pw}}", "{follow_redirects: true}", "10:96: pages do not follow redirects"},
		{"- name: p", "- name: p\n  webhook_configs: [{ulr: http://x}]", `8:22: unknown key "ulr" (did you mean "url"?)`},
		{"- name: p", "- name: p\n  webhook_configs: [{url: ftp://x}]", `8:27: invalid URL: unsupported scheme "ftp" for URL`},
		{"- name: p", "- name: p\n  escalation: nome", `8:15: unknown escalation "nome"`},
	} {
		f := smallFiles()
		if !strings.Contains(small, c.old) {
			t.Fatal(c.old)
		}
		f["tocsin.conf"] = strings.Replace(small, c.old, c.new, 1)
		plan, problems := load("tocsin.conf", f.source())
		if err := problems.Err(); plan != nil || err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(printed(t, problems), "hunter2") {
			t.Errorf("%s\n got %v\nwant %s", c.new, problems, c.want)
		}
	}
}

// TestOneThingWrongIsSaidOnce: rule_files of a wrong type are not missing as well.
func TestOneThingWrongIsSaidOnce(t *testing.T) {
	for _, value := range []string{"rules.yml", "{a: b}", "[~]"} {
		f := smallFiles()
		f["tocsin.conf"] = strings.Replace(small, "[r.yml, '*.yml', ./r.yml]", value, 1)
		if _, problems := load("tocsin.conf", f.source()); len(problems) != 1 {
			t.Errorf("rule_files: %s: %v", value, problems)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(small)
	f.Add(many)
	for _, pattern := range []string{"testdata/bad/*.yml", "../examples/*/tocsin.yml"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(b))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		machine := smallFiles()
		machine["tocsin.conf"] = text
		plan, problems := load("tocsin.conf", machine.source())
		printed(t, problems)
		if (plan == nil) != (len(problems.Errors()) > 0) {
			t.Fatalf("plan %v with %v", plan, problems)
		}
		if plan == nil {
			return
		}
		if plan.Prometheus.URL == nil || plan.EvaluationInterval <= 0 || len(plan.RuleFiles) == 0 {
			t.Errorf("incomplete: %+v", plan)
		}
		for _, e := range plan.Policy.Escalations {
			checkReachable(t, plan, e)
		}
	})
}

// checkReachable: in an accepted plan every target of every tier leads to somebody.
func checkReachable(t *testing.T, plan *Plan, e oncall.Escalation) {
	if len(e.Tiers) == 0 || len(e.GroupBy) == 0 || e.DeliverWithin <= 0 {
		t.Errorf("incomplete escalation %+v", e)
	}
	for _, tier := range e.Tiers {
		for _, target := range tier.Targets {
			switch target.Kind {
			case oncall.TargetSlack:
				if plan.Slack == nil {
					t.Errorf("%s without Slack", target)
				}
			case oncall.TargetUser:
				if len(plan.Policy.Users[target.Name].Contacts) == 0 {
					t.Errorf("%s cannot be reached", target)
				}
			case oncall.TargetReceiver:
				if len(plan.Policy.Receivers[target.Name].Endpoints) == 0 {
					t.Errorf("%s tells nobody", target)
				}
			default:
				t.Errorf("unsupported target %s", target)
			}
		}
		if len(tier.Targets) == 0 {
			t.Errorf("a tier of %s tells nobody", e.Name)
		}
	}
}
