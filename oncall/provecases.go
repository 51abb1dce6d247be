package oncall

import (
	"maps"
	"slices"
	"strings"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
)

// A promise is about alerts of which no more is known than the severity, if that. What conditions ask of other labels
// may be so or not, and either can break the promise: a tier that is told calls off that the next one is told at once.
// So a proof goes through all that an alert can be, as far as conditions tell apart.

// maxCases bounds the alerts that are told apart for one escalation.
const maxCases = 64

// alertCase is one of the alerts that conditions tell apart: of each matcher, without its negation, whether it matches.
type alertCase map[matcherText]bool

// matcherText is a matcher without its negation: what is not equal is the other case of what is.
type matcherText struct {
	name, value string
	regexp      bool
}

func textOf(m *amlabels.Matcher) (text matcherText, negated bool) {
	negated = m.Type == amlabels.MatchNotEqual || m.Type == amlabels.MatchNotRegexp
	return matcherText{m.Name, m.Value, m.Type == amlabels.MatchRegexp || m.Type == amlabels.MatchNotRegexp}, negated
}

// known returns what a matcher makes of the severity that is promised for; ok is false where that is not known.
func (e Escalation) known(m *amlabels.Matcher) (matches, ok bool) {
	if m.Name != "severity" || e.Promise.Severity == "" {
		return false, false
	}
	return m.Matches(e.Promise.Severity), true
}

// alertCases returns what alerts can be, first those of which one was found; ok is false where there are too many.
func (e Escalation) alertCases() (cases []alertCase, ok bool) {
	unknown := map[matcherText]*amlabels.Matcher{}
	take := func(ms amlabels.Matchers) {
		for _, m := range ms {
			if _, known := e.known(m); !known {
				text, _ := textOf(m)
				unknown[text] = m
			}
		}
	}
	take(e.Condition.When)
	take(e.Urgency.LowWhen)
	for _, t := range e.Tiers {
		take(t.Condition.When)
	}
	cases = []alertCase{{}}
	for _, text := range slices.SortedFunc(maps.Keys(unknown), func(a, b matcherText) int { return strings.Compare(a.String(), b.String()) }) {
		for _, c := range cases {
			with := maps.Clone(c)
			c[text], with[text] = false, true
			cases = append(cases, with)
		}
		cases = slices.DeleteFunc(cases, func(c alertCase) bool { return !c.possible(unknown) })
		if len(cases) > maxCases {
			return nil, false
		}
	}
	var doubtful []alertCase
	cases = slices.DeleteFunc(cases, func(c alertCase) bool {
		_, sure := c.witness()
		if !sure {
			doubtful = append(doubtful, c)
		}
		return !sure
	})
	return append(cases, doubtful...), true
}

// possible reports that there can be such an alert: a label that is known to equal something says what else matches it.
func (c alertCase) possible(unknown map[matcherText]*amlabels.Matcher) bool {
	for text, is := range c {
		value := text.value
		switch {
		case text.regexp && !is && text.value == ".*":
			return false
		case text.regexp && !is && text.value == ".+":
			value = ""
		case !is || text.regexp:
			continue
		}
		for other, holds := range c {
			_, negated := textOf(unknown[other])
			if other.name == text.name && (unknown[other].Matches(value) != negated) != holds {
				return false
			}
		}
	}
	return true
}

// holds reports that all matchers match, one of the incident's alerts being such as c.
func (c alertCase) holds(e Escalation, ms amlabels.Matchers) bool {
	for _, m := range ms {
		matches, known := e.known(m)
		if !known {
			text, negated := textOf(m)
			matches = c[text] != negated
		}
		if !matches {
			return false
		}
	}
	return true
}

func (t matcherText) String() string {
	m := amlabels.Matcher{Type: amlabels.MatchEqual, Name: t.name, Value: t.value}
	if t.regexp {
		m.Type = amlabels.MatchRegexp
	}
	return m.String()
}

// String says what matches such an alert, "" where nothing does.
func (c alertCase) String() string {
	var texts []string
	for text, is := range c {
		if is {
			texts = append(texts, text.String())
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}
