package rules

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"pgregory.net/rapid"

	"tocsin/oncall"
	"tocsin/problem"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func readOne(source string) (Set, problem.List) {
	return Read([]string{"r.yml"}, func(string) ([]byte, error) { return []byte(source), nil })
}

const full = `
groups:
- name: session
  interval: 15s
  query_offset: 1m
  limit: 10
  unknown_after: 10m
  labels: {team: shop, service: none}
  prometheus: shop
  headers: {X-Scope-OrgID: sessions}
  rules:
  - alert: SessionMemoryHigh
    expr: session_memory_bytes / session_memory_limit_bytes > 0.8
    for: 2m
    keep_firing_for: 5m
    no_data: hold
    no_data_for: 2h
    recover: 0.7
    escalation: session-oncall
    labels: {service: session, where: '{{ $labels.instance }}'}
    annotations: {summary: 'at {{ $value | humanizePercentage }}'}
  - alert: Quiet
    expr: up == 0
  - record: instance:ratio
    expr: a / b
    labels: {kind: ratio}
escalations:
- name: session-oncall
  tiers: [{slack: '#session-alerts'}]
`

func TestRead(t *testing.T) {
	set, problems := readOne(full)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	g, r := set.Groups[0], set.Groups[0].Rules[0]
	if g.Name != "session" || g.Interval != 15*time.Second || g.QueryOffset != time.Minute || g.Limit != 10 || g.UnknownAfter != 10*time.Minute || g.File != "r.yml" ||
		g.Prometheus != "shop" || g.Headers["X-Scope-OrgID"] != "sessions" {
		t.Errorf("group %+v", g)
	}
	if r.For != 2*time.Minute || r.KeepFiringFor != 5*time.Minute || r.Escalation != "session-oncall" || r.Line != 12 ||
		r.Labels.Get("service") != "session" || r.Labels.Get("team") != "shop" || r.Annotations["summary"] == "" || r.Expr == nil {
		t.Errorf("rule %+v", r)
	}
	if r.NoData != NoDataHold || r.NoDataFor != 2*time.Hour || r.Recover == nil || *r.Recover != 0.7 || r.Record != "" {
		t.Errorf("rule %+v", r)
	}
	if q := g.Rules[1]; q.NoData != NoDataOK || q.NoDataFor != 0 || q.Recover != nil || q.Name() != "Quiet" {
		t.Errorf("rule %+v", q)
	}
	if q := g.Rules[2]; q.Record != "instance:ratio" || q.Alert != "" || q.Name() != q.Record || q.NoData != "" || q.Labels.Get("kind") != "ratio" || q.Labels.Get("team") != "shop" {
		t.Errorf("recording rule %+v", q)
	}
	if set.Rules() != 3 || len(set.Escalations) != 1 {
		t.Errorf("set %+v", set)
	}
	var refs []string
	for _, ref := range set.Refs {
		refs = append(refs, fmt.Sprintf("%s %s %d:%d", ref.Kind, ref.Name, ref.At.Line, ref.At.Column))
	}
	want := []string{"slack #session-alerts 29:19", "backend shop 9:15", "escalation session-oncall 19:17", "escalation  22:12", "remote_write instance:ratio 24:13"}
	if diff := cmp.Diff(want, refs); diff != "" {
		t.Error(diff)
	}
}

// TestIdentity: an edit of file, expression, timing or templates keeps a rule's ID and changes its hash.
func TestIdentity(t *testing.T) {
	before, _ := readOne(full)
	for _, c := range []struct {
		old, new   string
		id, hashed bool // change
	}{
		{"> 0.8", "> 0.9", false, true},
		{"for: 2m", "for: 3m", false, true},
		{"keep_firing_for: 5m", "keep_firing_for: 6m", false, true},
		{"$labels.instance", "$labels.pod", false, true},
		{"humanizePercentage", "humanize", false, true},
		{"escalation: session-oncall\n", "escalation: other\n", false, true},
		{"interval: 15s", "interval: 16s", false, true},
		{"no_data: hold\n    no_data_for: 2h", "no_data: alert", false, true},
		{"no_data_for: 2h", "no_data_for: 1d", false, true},
		{"recover: 0.7", "recover: 0.6", false, true},
		{"    recover: 0.7\n", "", false, true},
		{"prometheus: shop", "prometheus: till", false, true},
		{"X-Scope-OrgID: sessions", "X-Scope-OrgID: till", false, true},
		{"team: shop", "team: till", true, true},
		{"service: session", "service: cart", true, true},
		{"name: session\n", "name: sessions\n", true, true},
		{"alert: SessionMemoryHigh", "alert: SessionMemoryLow", true, true},
		{"> 0.8", " >   0.8 # a remark", false, false},
		{"groups:", "# moved\ngroups:", false, false},
	} {
		after, problems := readOne(strings.Replace(full, c.old, c.new, 1))
		if len(problems.Errors()) > 0 {
			t.Fatal(problems)
		}
		a, b := before.Groups[0].Rules[0], after.Groups[0].Rules[0]
		if (a.ID != b.ID) != c.id || (a.Hash != b.Hash) != c.hashed {
			t.Errorf("%q: ID changed %v, hash changed %v", c.new, a.ID != b.ID, a.Hash != b.Hash)
		}
	}
}

// TestNothing: a file without rules is as valid as in Prometheus, and worth a word: it resolves what fired.
func TestNothing(t *testing.T) {
	for _, source := range []string{"", "# later\n", "---\n", "groups:\n", "groups: []\n", "groups: [{name: a, rules: []}]\n"} {
		_, problems := readOne(source)
		if len(problems) != 1 || !problems[0].Warning || problems[0].Error() != "r.yml: warning: this file holds no rules (alerts of rules that were here before resolve)" {
			t.Errorf("%q: %v", source, problems)
		}
	}
	if _, problems := readOne("escalations: [{name: a, tiers: [{slack: '#a'}]}]\n"); len(problems) > 0 {
		t.Errorf("escalations alone: %v", problems)
	}
}

// TestIdentityOfRecords: a recording rule is known like an alerting one, and never taken for it.
func TestIdentityOfRecords(t *testing.T) {
	ids := map[oncall.RuleID]string{}
	hashes := map[string]string{}
	for _, rule := range []string{"{record: a, expr: up}", "{record: b, expr: up}", "{alert: a, expr: up}", "{record: a, expr: up, labels: {x: y}}",
		"{record: a, expr: up, labels: {x: '{{z}}'}}", "{alert: 'record|\"a\"', expr: up}"} {
		set, problems := readOne("groups: [{name: g, rules: [" + rule + "]}]")
		if len(problems.Errors()) > 0 {
			t.Fatal(problems)
		}
		r := set.Groups[0].Rules[0]
		if other, ok := ids[r.ID]; ok {
			t.Errorf("%s and %s have one ID", other, rule)
		}
		if other, ok := hashes[r.Hash]; ok {
			t.Errorf("%s and %s have one hash", other, rule)
		}
		ids[r.ID], hashes[r.Hash] = rule, rule
	}
	before, _ := readOne("groups: [{name: g, rules: [{record: a, expr: up}]}]")
	after, _ := readOne("groups: [{name: g, rules: [{record: a, expr: sum(up)}]}]")
	if a, b := before.Groups[0].Rules[0], after.Groups[0].Rules[0]; a.ID != b.ID || a.Hash == b.Hash {
		t.Error("an edit of the expression must change the hash alone")
	}
}

// TestDefaults: what is held is held for a day.
func TestDefaults(t *testing.T) {
	set, problems := readOne("groups: [{name: g, rules: [{alert: a, expr: x < 10, no_data: hold, recover: 12}, {alert: b, expr: 10 > x, no_data: alert}]}]")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	a, b := set.Groups[0].Rules[0], set.Groups[0].Rules[1]
	if a.NoDataFor != DefaultNoDataFor || *a.Recover != 12 || b.NoData != NoDataAlert || b.NoDataFor != 0 {
		t.Errorf("%+v %+v", a, b)
	}
}

func TestOrdinals(t *testing.T) {
	rule := "  - {alert: A, expr: up > %d, labels: {severity: %s}}\n"
	src := "groups:\n- name: g\n  rules:\n" + fmt.Sprintf(rule, 1, "a") + fmt.Sprintf(rule, 2, "a") + fmt.Sprintf(rule, 3, "b")
	set, problems := Read([]string{"1.yml", "2.yml"}, func(string) ([]byte, error) { return []byte(src), nil })
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	ids := map[oncall.RuleID]bool{}
	for _, g := range set.Groups {
		for _, r := range g.Rules {
			ids[r.ID] = true
		}
	}
	if len(ids) != 6 {
		t.Errorf("%d IDs for 6 rules", len(ids))
	}
}

// TestBad compares what is said about broken rule files with what was said when somebody last looked.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal("no test files", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, problems := Check(filepath.ToSlash(file))
			var got bytes.Buffer
			if err := problems.Print(&got); err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".yml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// compare fails where we and Prometheus' own parser disagree on a file without anything of tocsin's.
func compare(t interface{ Errorf(string, ...any) }, source string) {
	_, refused := rulefmt.Parse([]byte(source), false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	_, problems := readOne(source)
	errs := problems.Errors()
	if len(refused) > 0 && len(errs) == 0 {
		t.Errorf("accepted what Prometheus refuses: %v\n%s", refused, source)
	}
	if len(refused) == 0 && len(errs) > 0 {
		t.Errorf("refused what Prometheus accepts: %v\n%s", errs, source)
	}
}

var oracleSources = []string{
	"", "# nothing\n", "~\n", "groups:\n", "groups: []\n", "groups: {}\n", "&a : b\n", "groups: [{~: 1, name: a}]\n", "[]\n", "x\n", "groups: ~\nx: 1\n",
	"groups: [~]\n", "groups: [{name: a}]\n", "groups: [{name: ''}]\n", "groups: [{name: a}, {name: a}]\n", "groups: [{name: 1}]\n",
	"groups: [{name: a, limit: 1.5}]\n", "groups: [{name: a, limit: -1}]\n", "groups: [{name: a, limit: x}]\n", "groups: [{name: a, limit: '1'}]\n",
	"groups: [{name: a, interval: 0}]\n", "groups: [{name: a, interval: 30}]\n", "groups: [{name: a, interval: ''}]\n", "groups: [{name: a, query_offset: 1d}]\n",
	"groups: [{name: a, rulez: []}]\n", "groups: [{name: a, name: b}]\n", "groups: [{name: a, labels: {a: b, __name__: c}}]\n",
	"groups: [{name: a, labels: {'': b}}]\n", "groups: [{name: a, labels: {~: b}}]\n", "groups: [{name: a, labels: {x: ~}}]\n", "groups: [{name: a, labels: [a]}]\n",
	"groups: []\n---\nx: [\n", "groups: []\n---\nx: 1\n", "groups: [\n",
	"groups: &g\n- name: a\n  rules: *g\n",
	"groups:\n- &g {name: a}\n- {<<: *g, name: b}\n", "groups:\n- &g {name: a}\n- <<: *g\n", "groups:\n- {<<: 1, name: b}\n",
	"groups:\n- &g {name: a, x: 1}\n", "groups:\n- {<<: {x: 1}, name: b}\n", "groups:\n- {<<: [{name: a}, {name: b}]}\n",
}

var oracleRules = []string{
	"{alert: A, expr: up}", "{alert: A}", "{expr: up}", "{alert: A, record: b, expr: up}", "{alert: A, expr: ''}", "{alert: A, expr: ~}",
	"{alert: '', expr: up}", "{alert: ~, expr: up}", "{alert: 1, expr: 1}", "{alert: true, expr: 1e3}", "{alert: A, expr: [up]}", "{alert: [A], expr: up}",
	"{alert: A, expr: 'up =='}", "{alert: A, expr: 'up[5m]'}", "{alert: A, expr: '\"x\"'}", "{alert: A, expr: 'nosuch(up)'}", "{alert: A, expr: 'rate(up)'}",
	"{alert: A, expr: 'limitk(1, up)'}", "{alert: A, expr: '{\"a.b\"} == 0'}", "{alert: A, expr: up, for: 1m, keep_firing_for: 1h}",
	"{alert: A, expr: up, for: 1}", "{alert: A, expr: up, for: -1s}", "{alert: A, expr: up, for: ~}", "{alert: A, expr: up, for: 1h30}",
	"{alert: A, expr: up, labels: {a: 1, b: true, c: 2006-01-02}}", "{alert: A, expr: up, labels: {'a b': x}}", "{alert: A, expr: up, labels: {__name__: x}}",
	"{alert: A, expr: up, labels: {a: '{{ $value }}'}}", "{alert: A, expr: up, labels: {a: '{{ $valu }}'}}", "{alert: A, expr: up, labels: {a: '{{'}}",
	"{alert: A, expr: up, annotations: {a: '{{ nosuch }}'}}", "{alert: A, expr: up, annotations: {a: '{{ $value | humanize1024 }}'}}",
	"{alert: A, expr: up, annotations: {a: '{{ query \"up\" | first | value }}'}}", "{alert: A, expr: up, annotations: {'': x}}", "{alert: A, expr: up, annotations: {__name__: x}}",
	"{alert: A, expr: up, annotations: {a: [b]}}", "{alert: A, expr: up, annotations: {a: ~}}", "{alert: A, expr: up, annotation: {a: b}}", "{alert: A, expr: up, alert: B}",
	"{record: a, expr: up}", "{record: 'a{', expr: up}", "{record: 'a}', expr: up}", "{record: a, expr: up, for: 1m}", "{record: a, expr: up, for: 0s}",
	"{record: a, expr: up, keep_firing_for: 1m}", "{record: a, expr: up, annotations: {}}", "{record: a, expr: up, annotations: {b: c}}",
	"{record: 'a b', expr: up}", "{record: '', expr: up}", "{record: ~, expr: up}", "{record: [a], expr: up}", "{record: !!binary /w==, expr: up}",
	"{record: a, expr: up, labels: {b: '{{'}}", "{record: a, expr: up, labels: {'': x}}", "{record: a, expr: up, labels: {__name__: x}}", "{record: a}", "~", "[]", "x", "{alert: A, expr: !!binary dXA=}", "{alert: A, expr: !!binary '%'}",
	"{alert: '{{', expr: up, labels: {a: '{{ end }}'}}", "{alert: A, expr: \"up\\n==\\n1\"}", "{? [a] : b, alert: A, expr: up}",
}

// TestOracle: what Prometheus refuses we refuse, what it accepts we accept.
func TestOracle(t *testing.T) {
	for _, s := range oracleSources {
		compare(t, s)
	}
	for _, r := range oracleRules {
		compare(t, "groups:\n- name: g\n  rules:\n  - "+r+"\n")
	}
	rapid.Check(t, func(t *rapid.T) {
		words := []string{"alert: A", "alert: B", "record: r", "expr: up", "expr: up > 1", "expr: (", "for: 1m", "for: 5", "keep_firing_for: 1h",
			"labels: {a: b}", "labels: {a: '{{ $x }}'}", "annotations: {a: '{{ $labels.x }}'}", "labels: *l", "<<: *m", "x: 1"}
		lines := rapid.SliceOfNDistinct(rapid.SampledFrom(words), 1, 5, rapid.ID[string]).Draw(t, "rule")
		compare(t, "groups:\n- name: g\n  labels: &l {c: d}\n- &m\n  name: h\n  rules:\n  - "+strings.Join(lines, "\n    ")+"\n")
		compare(t, "groups:\n- name: g\n  labels: &l {c: d}\n  rules:\n  - &m {alert: M, expr: up}\n  - "+strings.Join(lines, "\n    ")+"\n")
	})
}

// ours matches what only tocsin knows.
var ours = regexp.MustCompile(`escalation|unknown_after|no_data|recover|prometheus|headers`)

func FuzzRead(f *testing.F) {
	f.Add(full)
	for _, s := range oracleSources {
		f.Add(s)
	}
	for _, r := range oracleRules {
		f.Add("groups:\n- name: g\n  rules:\n  - " + r + "\n")
	}
	f.Fuzz(func(t *testing.T, source string) {
		set, problems := readOne(source)
		if err := problems.Print(&bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
		for _, g := range set.Groups {
			for _, r := range g.Rules {
				if r.ID == "" || r.Hash == "" || (r.Alert == "") == (r.Record == "") || r.Expr == nil {
					t.Errorf("incomplete rule %+v", r)
				}
			}
		}
		if !ours.MatchString(source) && !strings.Contains(source, "*") {
			compare(t, source)
		}
	})
}

func TestMissingFile(t *testing.T) {
	_, problems := Check("testdata/none.yml")
	if len(problems) != 1 || problems[0].Error() != "testdata/none.yml: cannot read the rule file: no such file or directory" {
		t.Error(problems)
	}
}

func TestOrderIsStable(t *testing.T) {
	src := "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    labels: {'': a, __name__: b}\n    annotations: {a: '{{', b: '{{', c: '{{'}\n"
	seen := map[string]bool{}
	for range 20 {
		_, problems := readOne(src)
		seen[problems.Err().Error()] = true
	}
	if len(seen) != 1 {
		t.Error(slices.Collect(maps.Keys(seen)))
	}
}

// BenchmarkReadOneLine reads a file as programs write them: all in one line, which every place refers to.
func BenchmarkReadOneLine(b *testing.B) {
	var rules []string
	for i := range 2000 {
		rules = append(rules, fmt.Sprintf(`{"alert": "A%d", "expr": "up == %d", "labels": {"severity": "page"}, "annotations": {"summary": "x {{ $value }}"}}`, i, i))
	}
	source := `{"groups": [{"name": "g", "rules": [` + strings.Join(rules, ", ") + "]}]}"
	b.SetBytes(int64(len(source)))
	for b.Loop() {
		if set, problems := readOne(source); set.Rules() != len(rules) || len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
