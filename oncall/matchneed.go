package oncall

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
)

// needKind is what a matcher asks of its label, the strictest first.
type needKind int

const (
	needValue   needKind = iota + 1 // one of a few values
	needPrefix                      // a value that begins so
	needPresent                     // any value but the empty one
	needNothing needKind = 0        // the label may be missing
)

// need is a condition on one label without which a matcher cannot match. It may hold where the matcher does
// not match: whoever goes by it asks the matcher in the end.
type need struct {
	kind  needKind
	label string
	texts []string // the values; the prefix
}

const (
	maxNeedValues = 256 // a regular expression with more values goes by its prefix
	maxNeedPrefix = 16  // bytes
)

// needOf returns the strictest need of a matcher that is easily seen.
func needOf(m *amlabels.Matcher) need {
	if m.Matches("") {
		return need{}
	}
	switch m.Type {
	case amlabels.MatchEqual:
		return need{needValue, m.Name, []string{m.Value}}
	case amlabels.MatchRegexp:
		re, err := syntax.Parse(m.Value, syntax.Perl)
		if err != nil {
			break // one that only makes sense with Alertmanager's anchors around it
		}
		if values, ok := literals(re); ok && !slices.Contains(values, "") {
			slices.Sort(values)
			return need{needValue, m.Name, slices.Compact(values)}
		}
		if prefix, _ := literalPrefix(re); prefix != "" {
			return need{needPrefix, m.Name, []string{prefix[:min(len(prefix), maxNeedPrefix)]}}
		}
	}
	return need{kind: needPresent, label: m.Name}
}

// literals returns texts among which are all that the expression matches as a whole, or false where there are
// too many. Conditions without width (anchors, word boundaries) are taken to hold.
func literals(re *syntax.Regexp) ([]string, bool) {
	switch re.Op {
	case syntax.OpNoMatch:
		return nil, true
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return []string{""}, true
	case syntax.OpLiteral:
		s, ok := plainLiteral(re)
		return []string{s}, ok
	case syntax.OpCharClass:
		return classLiterals(re)
	case syntax.OpCapture:
		return literals(re.Sub[0])
	case syntax.OpQuest:
		sub, ok := literals(re.Sub[0])
		return append(sub, ""), ok
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			texts, ok := literals(sub)
			if all = append(all, texts...); !ok || len(all) > maxNeedValues {
				return nil, false
			}
		}
		return all, true
	case syntax.OpConcat:
		all := []string{""}
		for _, sub := range re.Sub {
			texts, ok := literals(sub)
			if !ok || len(all)*len(texts) > maxNeedValues {
				return nil, false
			}
			all = product(all, texts)
		}
		return all, true
	}
	return nil, false
}

func product(heads, tails []string) []string {
	all := make([]string, 0, len(heads)*len(tails))
	for _, h := range heads {
		for _, t := range tails {
			all = append(all, h+t)
		}
	}
	return all
}

// plainLiteral returns the text of a literal; false where it stands for several texts: in either case, or with
// the replacement character, which regular expressions also find in bytes that are no UTF-8.
func plainLiteral(re *syntax.Regexp) (string, bool) {
	if re.Flags&syntax.FoldCase != 0 || slices.Contains(re.Rune, utf8.RuneError) {
		return "", false
	}
	return string(re.Rune), true
}

func classLiterals(re *syntax.Regexp) ([]string, bool) {
	var all []string
	for i := 0; i+1 < len(re.Rune); i += 2 {
		from, to := re.Rune[i], re.Rune[i+1]
		if from <= utf8.RuneError && utf8.RuneError <= to || len(all)+int(to-from) >= maxNeedValues {
			return nil, false
		}
		for r := from; r <= to; r++ {
			all = append(all, string(r))
		}
	}
	return all, true
}

// literalPrefix returns how all that the expression matches begins, and whether that is all of it.
func literalPrefix(re *syntax.Regexp) (prefix string, whole bool) {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return "", true
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return "", false
		}
		i := slices.Index(re.Rune, utf8.RuneError)
		if i < 0 {
			return string(re.Rune), true
		}
		return string(re.Rune[:i]), false
	case syntax.OpCapture:
		return literalPrefix(re.Sub[0])
	case syntax.OpPlus:
		prefix, _ = literalPrefix(re.Sub[0])
		return prefix, false
	case syntax.OpConcat:
		var b strings.Builder
		for _, sub := range re.Sub {
			p, whole := literalPrefix(sub)
			b.WriteString(p)
			if !whole {
				return b.String(), false
			}
		}
		return b.String(), true
	}
	return "", false
}
