package web

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"tocsin/evaluator"
)

// maxMatchers bounds the selectors of one request: each is held against every rule.
const maxMatchers = 1000

// selectors understands match[]. It holds no state.
var selectors = parser.NewParser(parser.Options{})

// ruleQuery is what a request for rules asks for.
type ruleQuery struct {
	alerting, recording bool
	names, groups, file map[string]bool // nil: any
	matchers            [][]*labels.Matcher
	excludeAlerts       bool
	limit               int // groups of an answer; 0: all
	token               string
}

// ruleGroup is a group with those of its rules that a request selects.
type ruleGroup struct {
	*evaluator.GroupStatus
	selected []*evaluator.RuleStatus
}

func (w *Web) listRules(rw http.ResponseWriter, r *http.Request) {
	q, err := ruleQueryOf(r)
	if err != nil {
		w.badData(rw, err.Error())
		return
	}
	groups, next, err := q.page(w.groups())
	if err != nil {
		w.badData(rw, err.Error())
		return
	}
	w.stream(rw, r, func(j *jsonStream) { j.rules(groups, next, q.excludeAlerts) })
}

func (w *Web) listAlerts(rw http.ResponseWriter, r *http.Request) {
	groups := w.groups()
	w.stream(rw, r, func(j *jsonStream) { j.alertList(groups) })
}

// groups returns all groups by file and name: Prometheus' order, which pages rely on.
func (w *Web) groups() []evaluator.GroupStatus {
	if w.o.Rules == nil {
		return nil
	}
	groups := slices.Clone(w.o.Rules.Groups())
	slices.SortStableFunc(groups, func(a, b evaluator.GroupStatus) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Name, b.Name))
	})
	return groups
}

// ruleQueryOf reads the parameters. Those that it does not know are ignored, as Prometheus does: clients
// send some that only later versions understand.
func ruleQueryOf(r *http.Request) (ruleQuery, error) {
	var q ruleQuery
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, fmt.Errorf("error parsing form values: %w", err)
	}
	q.names, q.groups, q.file = setOf(values["rule_name[]"]), setOf(values["rule_group[]"]), setOf(values["file[]"])
	if q.matchers, err = matchersOf(values["match[]"]); err != nil {
		return q, err
	}
	switch kind := strings.ToLower(values.Get("type")); kind {
	case "":
		q.alerting, q.recording = true, true
	case "alert":
		q.alerting = true
	case "record":
		q.recording = true
	default:
		return q, fmt.Errorf(`invalid parameter "type": not supported value %q; known: alert, record`, kind)
	}
	if exclude := strings.ToLower(values.Get("exclude_alerts")); exclude != "" {
		if q.excludeAlerts, err = strconv.ParseBool(exclude); err != nil {
			return q, fmt.Errorf(`invalid parameter "exclude_alerts": %q is neither true nor false`, exclude)
		}
	}
	q.token = values.Get("group_next_token")
	limit := values.Get("group_limit")
	if limit == "" && q.token != "" {
		return q, fmt.Errorf(`invalid parameter "group_next_token": group_limit must be given too, to go on with the next page`)
	}
	if limit != "" {
		n, err := strconv.ParseInt(limit, 10, 32)
		if err != nil || n <= 0 {
			return q, fmt.Errorf(`invalid parameter "group_limit": %q is no number greater than 0`, limit)
		}
		q.limit = int(n)
	}
	return q, nil
}

func setOf(values []string) map[string]bool {
	if len(values) == 0 {
		return nil
	}
	set := make(map[string]bool, len(values))
	for _, v := range values {
		set[v] = true
	}
	return set
}

// matchersOf reads selectors. One that every rule would match is refused, as Prometheus does: whoever sends
// it has most likely left something out.
func matchersOf(texts []string) ([][]*labels.Matcher, error) {
	if len(texts) > maxMatchers {
		return nil, fmt.Errorf(`invalid parameter "match[]": %d selectors are too many; at most %d`, len(texts), maxMatchers)
	}
	sets, err := selectors.ParseMetricSelectors(texts)
	if err != nil {
		return nil, fmt.Errorf(`invalid parameter "match[]": %w`, err)
	}
	for _, set := range sets {
		if !slices.ContainsFunc(set, func(m *labels.Matcher) bool { return !m.Matches("") }) {
			return nil, fmt.Errorf("match[] must contain at least one non-empty matcher")
		}
	}
	return sets, nil
}

// page selects groups and their rules. next is the token of the page after this one, "" where this is the
// last.
func (q ruleQuery) page(groups []evaluator.GroupStatus) (page []ruleGroup, next string, err error) {
	if q.token != "" {
		i := slices.IndexFunc(groups, func(g evaluator.GroupStatus) bool { return groupToken(&g) == q.token })
		if i < 0 {
			return nil, "", fmt.Errorf(`invalid parameter "group_next_token": no group has the token %q; were rules changed? Begin again without it`, q.token)
		}
		groups = groups[i:]
	}
	for i := range groups {
		g := &groups[i]
		if q.groups != nil && !q.groups[g.Name] || q.file != nil && !q.file[g.File] {
			continue
		}
		selected := q.rulesOf(g)
		if len(selected) == 0 {
			continue
		}
		if q.limit > 0 && len(page) == q.limit {
			return page, groupToken(g), nil
		}
		page = append(page, ruleGroup{g, selected})
	}
	return page, "", nil
}

func (q ruleQuery) rulesOf(g *evaluator.GroupStatus) []*evaluator.RuleStatus {
	var selected []*evaluator.RuleStatus
	for i := range g.Rules {
		r := &g.Rules[i]
		wanted := q.alerting
		if r.Type == evaluator.Recording {
			wanted = q.recording
		}
		if wanted && (q.names == nil || q.names[r.Name]) && q.matches(r.Labels) {
			selected = append(selected, r)
		}
	}
	return selected
}

// matches reports whether all matchers of any selector hold for the labels of a rule, as written.
func (q ruleQuery) matches(ls labels.Labels) bool {
	if len(q.matchers) == 0 {
		return true
	}
	return slices.ContainsFunc(q.matchers, func(set []*labels.Matcher) bool {
		return !slices.ContainsFunc(set, func(m *labels.Matcher) bool { return !m.Matches(ls.Get(m.Name)) })
	})
}

// groupToken names a group so that the next page begins with it.
func groupToken(g *evaluator.GroupStatus) string {
	sum := sha256.Sum256([]byte(g.File + ";" + g.Name))
	return hex.EncodeToString(sum[:])
}
