package oncall

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/matcher/parse"
	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
)

// MatcherMode says which syntax of matchers and which label names are accepted: Alertmanager's
// --enable-feature. The zero value is its default.
type MatcherMode int

// The modes.
const (
	MatchersFallback   MatcherMode = iota // UTF-8; what only the classic syntax accepts, or reads differently, as classic
	MatchersClassic                       // classic-mode
	MatchersUTF8Strict                    // utf8-strict-mode
)

// ParseMatchers reads a list of matchers as Alertmanager does in the mode: {alertname="SessionMemoryHigh",team=~"shop|pay"},
// where the braces may be left out. An empty list is none.
func ParseMatchers(input string, mode MatcherMode) (amlabels.Matchers, error) {
	if mode == MatchersClassic {
		ms, err := amlabels.ParseMatchers(input)
		return ms, matcherError(err)
	}
	ms, err := parse.Matchers(input)
	if mode == MatchersUTF8Strict {
		return ms, matcherError(err)
	}
	classic, classicErr := amlabels.ParseMatchers(input)
	switch {
	case classicErr == nil && (err != nil || !SameMatchers(ms, classic)):
		return classic, nil
	case err != nil:
		return nil, matcherError(classicErr)
	}
	return ms, nil
}

// ParseMatcher reads one matcher without braces, as in the filter parameters of the alert API.
func ParseMatcher(input string, mode MatcherMode) (*amlabels.Matcher, error) {
	if mode == MatchersClassic {
		m, err := amlabels.ParseMatcher(input)
		return m, matcherError(err)
	}
	if strings.HasPrefix(input, "{") || strings.HasSuffix(input, "}") {
		return nil, Errorf(CodeInvalid, "unexpected open or close brace: %s", input)
	}
	m, err := parse.Matcher(input)
	if mode == MatchersUTF8Strict {
		return m, matcherError(err)
	}
	classic, classicErr := amlabels.ParseMatcher(input)
	switch {
	case classicErr == nil && (err != nil || !SameMatchers(amlabels.Matchers{m}, amlabels.Matchers{classic})):
		return classic, nil
	case err != nil:
		return nil, matcherError(classicErr)
	}
	return m, nil
}

// matcherError gives a parser's error its code.
func matcherError(err error) error {
	if err == nil {
		return nil
	}
	return Errorf(CodeInvalid, "%w", err)
}

// SameMatchers reports whether two lists hold equal matchers in the same order.
func SameMatchers(a, b amlabels.Matchers) bool {
	return slices.EqualFunc(a, b, func(x, y *amlabels.Matcher) bool {
		return x.Type == y.Type && x.Name == y.Name && x.Value == y.Value
	})
}

// ValidLabelName reports whether the mode accepts the name of a label.
func (mode MatcherMode) ValidLabelName(name string) bool {
	if mode == MatchersClassic {
		return model.LegacyValidation.IsValidLabelName(name)
	}
	return name != "" && utf8.ValidString(name)
}
