package pager

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Bounds of Opsgenie's alerts, in characters but for the counts.
const (
	maxMessage     = 130
	maxAlias       = 512
	maxDescription = 15_000
	maxEntity      = 512
	maxSource      = 100
	maxUser        = 100
	maxNote        = 25_000
	maxAllDetails  = 8_000 // names and values together
	maxTags        = 20
	maxActions     = 10
	maxWord        = 50 // of a tag, of an action
	maxResponders  = 50
)

// What is done by tocsin says so there, so that it is known again when Opsgenie reports it.
const (
	echoSource = "tocsin"
	echoMark   = "(tocsin)"
)

// echoUser is in whose name tocsin acts at Opsgenie.
func echoUser(who string) string {
	if who == "" {
		return echoSource
	}
	return cut(who, maxUser-len(echoMark)-1) + " " + echoMark
}

// opsgenieAlert is an alert as Opsgenie takes it.
type opsgenieAlert struct {
	Message     string              `json:"message"`
	Alias       string              `json:"alias"`
	Description string              `json:"description,omitempty"`
	Responders  []map[string]string `json:"responders,omitempty"`
	Actions     []string            `json:"actions,omitempty"`
	Tags        []string            `json:"tags,omitempty"`
	Details     map[string]string   `json:"details,omitempty"`
	Entity      string              `json:"entity,omitempty"`
	Source      string              `json:"source,omitempty"`
	Priority    string              `json:"priority,omitempty"`
	Note        string              `json:"note,omitempty"`
	User        string              `json:"user"`
}

// opsgenieAlert is what Opsgenie is told of the incident, the user's words before ours.
func (f *facts) opsgenieAlert(alias string, words map[string]any) opsgenieAlert {
	return opsgenieAlert{
		Message: cut(cmp.Or(oneLine(text(words, "message")), f.title(maxMessage)), maxMessage), Alias: cut(alias, maxAlias),
		Description: cut(cmp.Or(text(words, "description"), f.description()), maxDescription),
		Responders:  responders(words), Actions: split(text(words, "actions"), maxActions), Tags: split(text(words, "tags"), maxTags),
		Details: f.opsgenieDetails(words), Entity: cut(cmp.Or(text(words, "entity"), f.source()), maxEntity),
		Source: cut(cmp.Or(text(words, "source"), f.URL, echoSource), maxSource), Priority: opsgeniePriority(text(words, "priority"), f.Severity),
		Note: cut(text(words, "note"), maxNote), User: echoUser(""),
	}
}

// opsgeniePriority is the user's, else that of the severity. Without either it is Opsgenie's to choose.
func opsgeniePriority(given, severity string) string {
	if p := strings.ToUpper(strings.TrimSpace(given)); len(p) == 2 && p[0] == 'P' && p[1] >= '1' && p[1] <= '5' {
		return p
	}
	if r := rank(cmp.Or(given, severity)); r > 0 {
		return []string{"P5", "P3", "P2", "P1"}[r-1]
	}
	return ""
}

// responders are the user's. "teams" names several teams at once, as in Alertmanager.
func responders(words map[string]any) (out []map[string]string) {
	for _, r := range list(words, "responders") {
		one := map[string]string{"type": strings.ToLower(text(r, "type"))}
		for _, key := range []string{"id", "name", "username"} {
			if v := text(r, key); v != "" {
				one[key] = v
			}
		}
		switch {
		case len(one) == 1: // its name rendered to nothing
		case one["type"] == "teams":
			for _, team := range split(one["name"], maxResponders) {
				out = append(out, map[string]string{"type": "team", "name": team})
			}
		default:
			out = append(out, one)
		}
	}
	return out[:min(len(out), maxResponders)]
}

// split reads a list with commas.
func split(s string, most int) (out []string) {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" && len(out) < most {
			out = append(out, cut(part, maxWord))
		}
	}
	return out
}

// opsgenieDetails are the labels that all alerts share, what leads on, and the user's details, within Opsgenie's bound:
// what does not fit is left out, the longest first.
func (f *facts) opsgenieDetails(words map[string]any) map[string]string {
	d := f.Labels.Map()
	for key, value := range map[string]string{
		"incident": f.URL, "number": f.number(), "escalation": f.Escalation, "runbook": f.runbook, "graph": f.graph,
		"alerts_firing": fmt.Sprint(len(f.firing)), "alerts_total": fmt.Sprint(f.AlertsTotal), failedKey: text(words, failedKey),
	} {
		if value != "" {
			d[key] = value
		}
	}
	if own, ok := words["details"].(map[string]any); ok {
		for key, value := range own {
			d[key] = fmt.Sprint(value)
		}
	}
	total := 0
	for key, value := range d {
		total += len(key) + len(value)
	}
	if total <= maxAllDetails {
		return d
	}
	keys := slices.SortedFunc(maps.Keys(d), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b)+len(d[b]), len(a)+len(d[a])), cmp.Compare(a, b))
	})
	const note = "some details are too long for Opsgenie"
	total += len("left_out") + len(note)
	for _, key := range keys {
		if total <= maxAllDetails {
			break
		}
		total -= len(key) + len(d[key])
		delete(d, key)
	}
	d["left_out"] = note
	return d
}

// description tells the incident in lines.
func (f *facts) description() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%d of %d alerts firing, since %s.", f.Title, len(f.firing), f.AlertsTotal, f.TriggeredAt.UTC().Format(time.RFC1123))
	if f.Severity != "" {
		fmt.Fprintf(&b, " Severity: %s.", f.Severity)
	}
	b.WriteString("\n")
	const shown = 20
	for i, a := range f.firing {
		if i == shown {
			fmt.Fprintf(&b, "… and %d more\n", len(f.firing)-shown)
			break
		}
		fmt.Fprintf(&b, "- %s\n", summary(a, 300))
	}
	for _, l := range [][2]string{{"Incident", f.URL}, {"Runbook", f.runbook}, {"Graph", f.graph}} {
		if l[1] != "" {
			fmt.Fprintf(&b, "%s: %s\n", l[0], l[1])
		}
	}
	fmt.Fprintf(&b, "Escalation: %s (%s)\n", f.Escalation, f.Why)
	return b.String()
}
