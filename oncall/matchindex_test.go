package oncall_test

import (
	"fmt"
	"slices"
	"testing"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

func matcher(t testing.TB, typ amlabels.MatchType, name, value string) *amlabels.Matcher {
	t.Helper()
	m, err := amlabels.NewMatcher(typ, name, value)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func matchers(t testing.TB, text string) amlabels.Matchers {
	t.Helper()
	ms, err := oncall.ParseMatchers(text, oncall.MatchersFallback)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return ms
}

// Few names and values, so that matchers and labels meet; among them what is special to the index.
var (
	matchNames  = []string{"alertname", "a", "b", "zone", "größe", "with space"}
	matchValues = []string{"", "x", "xy", "xyz", "web-1", "web-12", "WEB-1", "ü", "x\ny", "\xff", "\uFFFD", "0123456789abcdef0", "0123456789abcdef1"}
	matchRegexp = []string{"", "x", "x|y", "x|xy|", "(x|web-1)y?", "web-.*", "web-1+", "(?i)web-1", "[x-z]+", "[x-z]", "x?", ".*", ".+", "^x$", "^(x|xy)$",
		"\\bx", "x\\b.*", "xy{1,2}z?", "[^a]", ".", "x.y", "(?s)x.y", "\uFFFD", "ü|x", "0123456789abcdef.+", "0123456789abcdef[01]", "a)|(x", "(?:)", "[\\x00-\\x{10FFFF}]", "(web-|x)1", "x\uFFFD.*", "\\Qx\\E"}
)

func drawMatchers(t *rapid.T) amlabels.Matchers {
	var ms amlabels.Matchers
	for range rapid.IntRange(0, 4).Draw(t, "matchers") {
		typ := amlabels.MatchType(rapid.IntRange(0, 3).Draw(t, "type"))
		value := rapid.SampledFrom(matchValues).Draw(t, "value")
		if typ >= amlabels.MatchRegexp {
			value = rapid.SampledFrom(matchRegexp).Draw(t, "regexp")
		}
		m, err := amlabels.NewMatcher(typ, rapid.SampledFrom(matchNames).Draw(t, "name"), value)
		if err != nil {
			t.Fatal(err)
		}
		ms = append(ms, m)
	}
	return ms
}

func drawLabels(t *rapid.T) labels.Labels {
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, n := range matchNames {
		b.Set(n, rapid.SampledFrom(matchValues).Draw(t, n))
	}
	return b.Labels()
}

func labelSet(ls labels.Labels) commonmodel.LabelSet {
	set := commonmodel.LabelSet{}
	ls.Range(func(l labels.Label) { set[commonmodel.LabelName(l.Name)] = commonmodel.LabelValue(l.Value) })
	return set
}

// TestMatchIndexIsTheScan: whatever is added and removed, the index finds what Alertmanager's own matching of
// each set finds.
func TestMatchIndexIsTheScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, sets := oncall.NewMatchIndex(nil), map[int]amlabels.Matchers{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			id := rapid.IntRange(0, 9).Draw(t, "id")
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				x.Remove(id)
				delete(sets, id)
			} else {
				sets[id] = drawMatchers(t)
				x.Add(id, sets[id])
			}
			ls := drawLabels(t)
			var want, got []int
			for id, ms := range sets {
				if ms.Matches(labelSet(ls)) {
					want = append(want, id)
				}
			}
			x.Matching(ls, func(id int) bool { got = append(got, id); return true })
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(want, got) || x.Any(ls) != (len(want) > 0) || x.Len() != len(sets) {
				t.Fatalf("%s of %v: found %v, expected %v", ls, sets, got, want)
			}
		}
	})
}

// TestMatchIndexStops: no set is yielded after yield said that it has enough.
func TestMatchIndexStops(t *testing.T) {
	x := oncall.NewMatchIndex([]amlabels.Matchers{nil, nil, matchers(t, `a=x`), matchers(t, `a=~"x.+"`), matchers(t, `a=~".+"`), matchers(t, `b=y`)})
	n := 0
	x.Matching(labels.FromStrings("a", "xy", "b", "y"), func(int) bool { n++; return n < 3 })
	if n != 3 {
		t.Fatalf("yielded %d times", n)
	}
}

// BenchmarkMatchIndex: the cost of an alert does not grow with the sets that cannot match it. Each shape of
// set is one that people write.
func BenchmarkMatchIndex(b *testing.B) {
	ls := labels.FromStrings("alertname", "SessionMemoryHigh", "cluster", "shop-1", "instance", "web-17:9100", "job", "session",
		"namespace", "shop", "service", "session", "severity", "warning")
	for _, shape := range []struct{ name, format string }{
		{"equal", `{alertname="HostDown",instance="db-%d:9100"}`},
		{"sharedEqual", `{severity="warning",cluster="c-%d"}`},
		{"literals", `{severity=~"critical|warning",instance=~"db-%d:9100|db-%[1]d:9200"}`},
		{"prefix", `{severity=~"warning",instance=~"db-%d.*"}`},
		{"absent", `{pod=~".*-%d",severity!="critical"}`},
	} {
		for _, n := range []int{10, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", shape.name, n), func(b *testing.B) {
				x := oncall.NewMatchIndex(nil)
				for i := range n {
					x.Add(i, matchers(b, fmt.Sprintf(shape.format, i)))
				}
				b.ReportAllocs()
				for b.Loop() {
					if x.Any(ls) {
						b.Fatal("matched")
					}
				}
			})
		}
	}
}
