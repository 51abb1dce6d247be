package oncall

import (
	"maps"
	"regexp/syntax"
	"slices"
	"strings"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
)

// maxSamples bounds the values that are tried for one label.
const maxSamples = 100

// witness returns labels of an alert such as c, so that it can be played through: for each label that conditions ask
// for, a value of which exactly the right ones match. One that no alert needs to have is left out, but for the severity:
// "" stands for alerts without one. sure is false where no value was found for a label, which is left out too: there may
// be no such alert.
func (c alertCase) witness() (found map[string]string, sure bool) {
	byName := map[string][]matcherText{}
	for text := range c {
		byName[text.name] = append(byName[text.name], text)
	}
	sure = true
	for name, texts := range byName {
		slices.SortFunc(texts, func(a, b matcherText) int { return strings.Compare(a.String(), b.String()) })
		value, ok := c.valueOf(texts)
		sure = sure && ok
		if !ok || value == "" && name != "severity" {
			continue
		}
		if found == nil {
			found = map[string]string{}
		}
		found[name] = value
	}
	return found, sure
}

// valueOf returns a value of one label of which matches what c says that matches.
func (c alertCase) valueOf(texts []matcherText) (string, bool) {
	samples := []string{"", "critical", "warning", "other"}
	var matchers []*amlabels.Matcher
	for _, text := range texts {
		kind := amlabels.MatchEqual
		if text.regexp {
			kind = amlabels.MatchRegexp
			if re, err := syntax.Parse(text.value, syntax.Perl); err == nil {
				samples = append(samples, sampled(re.Simplify())...)
			}
		} else {
			samples = append(samples, text.value)
		}
		m, err := amlabels.NewMatcher(kind, text.name, text.value)
		if err != nil {
			return "", false
		}
		matchers = append(matchers, m)
	}
	for _, value := range samples[:min(len(samples), maxSamples)] {
		fits := true
		for i, m := range matchers {
			fits = fits && m.Matches(value) == c[texts[i]]
		}
		if fits {
			return value, true
		}
	}
	return "", false
}

// sampled returns some texts that a regular expression may match: each alternative in its simplest form.
func sampled(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{string(re.Rune)}
	case syntax.OpCharClass:
		if len(re.Rune) > 0 {
			return []string{string(re.Rune[0])}
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return []string{"x"}
	case syntax.OpCapture, syntax.OpPlus:
		return sampled(re.Sub[0])
	case syntax.OpStar, syntax.OpQuest:
		return append(sampled(re.Sub[0]), "")
	case syntax.OpAlternate:
		all := map[string]bool{}
		for _, sub := range re.Sub {
			for _, s := range sampled(sub) {
				all[s] = len(all) < maxSamples
			}
		}
		return slices.Sorted(maps.Keys(all))
	case syntax.OpConcat:
		texts := []string{""}
		for _, sub := range re.Sub {
			var longer []string
			for _, end := range sampled(sub) {
				for _, begin := range texts[:min(len(texts), maxSamples/2)] {
					longer = append(longer, begin+end)
				}
			}
			texts = longer[:min(len(longer), maxSamples)]
		}
		return texts
	}
	return []string{""} // anchors, and what matches nothing
}
