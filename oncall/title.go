package oncall

import (
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// severities in the field's common use, from mild to worst. Any other word ranks above none at all.
var severities = map[string]int{
	"none": 1, "info": 2, "informational": 2, "low": 2, "notice": 2, "warning": 3, "warn": 3, "medium": 3,
	"error": 4, "high": 4, "major": 4, "critical": 5, "page": 5, "fatal": 5, "emergency": 5, "disaster": 5,
}

func severityRank(s string) int {
	if s == "" {
		return 0
	}
	if r, ok := severities[strings.ToLower(s)]; ok {
		return r
	}
	return 1
}

// titleOf names the incident after the alert that opened it: its summary, else its name and group.
func titleOf(c AlertChange, group labels.Labels) string {
	if s := strings.TrimSpace(c.Annotations["summary"]); s != "" {
		return truncate(oneLine(s), 250)
	}
	name := c.Labels.Get(model.AlertNameLabel)
	var parts []string
	group.Range(func(l labels.Label) {
		if l.Name != model.AlertNameLabel {
			parts = append(parts, l.Name+"="+l.Value)
		}
	})
	if len(parts) > 0 {
		name += " (" + strings.Join(parts, ", ") + ")"
	}
	return truncate(oneLine(name), 250)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// truncate shortens s to at most n runes, with an ellipsis where something is missing.
func truncate(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	r := []rune(s)
	return string(r[:n-1]) + "…"
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
