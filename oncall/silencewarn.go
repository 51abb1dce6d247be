package oncall

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
)

// SilenceWarnings says what a person should know about a silence that is valid: that it mutes everything, or
// everything but a little.
func SilenceWarnings(s Silence) []string {
	var but []string
	for _, m := range s.Matchers {
		switch matcherWidth(m) {
		case widthNarrow:
			return nil
		case widthAllBut:
			but = append(but, m.String())
		}
	}
	if len(but) == 0 {
		return []string{"this silence matches every alert: while it lasts, nobody is told of anything"}
	}
	return []string{"this silence matches every alert with " + strings.Join(but, " and ") +
		": alerts that lack the label as well. Name what is to be muted rather than what is not"}
}

// matcherWidth says how much a matcher matches.
func matcherWidth(m *amlabels.Matcher) width {
	switch m.Type {
	case amlabels.MatchEqual:
		return widthNarrow // also where it is empty: an alert that lacks a label is a choice
	case amlabels.MatchNotEqual:
		if m.Value == "" {
			return widthOfPresent(m.Name)
		}
		return widthAllBut
	case amlabels.MatchNotRegexp:
		if m.Matches("") {
			return widthAllBut
		}
		return widthNarrow
	}
	re, err := syntax.Parse(m.Value, syntax.Perl)
	if err != nil {
		return widthNarrow
	}
	switch {
	case matchesAny(re, syntax.OpStar):
		return widthAll
	case matchesAny(re, syntax.OpPlus):
		return widthOfPresent(m.Name)
	}
	return widthNarrow
}

type width int

const (
	widthNarrow width = iota
	widthAllBut       // all but some values
	widthAll
)

// widthOfPresent is the width of "the label is there".
func widthOfPresent(name string) width {
	if name == model.AlertNameLabel {
		return widthAll // each alert of a rule has one
	}
	return widthNarrow
}

// matchesAny reports whether the expression is "any character", repeated by op, or has that as an alternative.
func matchesAny(re *syntax.Regexp, op syntax.Op) bool {
	switch re.Op {
	case syntax.OpCapture:
		return matchesAny(re.Sub[0], op)
	case syntax.OpAlternate:
		return slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return matchesAny(sub, op) })
	case syntax.OpQuest: // .+ or nothing
		return op == syntax.OpStar && matchesAny(re.Sub[0], syntax.OpPlus)
	case syntax.OpConcat:
		rest := slices.DeleteFunc(slices.Clone(re.Sub), func(sub *syntax.Regexp) bool {
			return sub.Op == syntax.OpBeginText || sub.Op == syntax.OpEndText || sub.Op == syntax.OpEmptyMatch
		})
		return len(rest) == 1 && matchesAny(rest[0], op)
	case op:
		sub := re.Sub[0].Op
		return sub == syntax.OpAnyChar || sub == syntax.OpAnyCharNotNL
	}
	return false
}

// recurringWish finds words that ask for a silence which comes back.
var recurringWish = regexp.MustCompile(`(?i)\b(every|each|daily|weekly|nightly|hourly|monthly|weekdays?|weekends?|recurring|` +
	`(mon|tues?|wed|thur?s?|fri|sat|sun)(day|nesday|urday)?s?)\b|[*\d]+\s+[*\d]+\s+[*\d]+\s+[*\d]+\s+[*\d]+`)

// ParseSilenceDuration reads how long a silence made by hand lasts: "2h", "1d12h", "1w". A wish for one that
// comes back ("every monday 02:00") is refused with the way to have it.
func ParseSilenceDuration(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	d, err := model.ParseDuration(text)
	switch {
	case err == nil && d > 0:
		return time.Duration(d), nil
	case recurringWish.MatchString(text):
		return 0, Errorf(CodeInvalid, "%q: a silence lasts once and does not come back. For hours that come back, define them under time_intervals "+
			"in the configuration and name them in mute_time_intervals of the route", text)
	}
	return 0, Errorf(CodeInvalid, "%q is no duration: write 30m, 2h, 1d or 1w", text)
}
