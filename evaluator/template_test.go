package evaluator

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/rules"
)

func TestTemplates(t *testing.T) {
	rs := group(rule(t, "A", "x > 1",
		labelled("severity", "{{ if gt $value 5.0 }}critical{{ else }}warning{{ end }}", "i", "", "team", "{{ $labels.i }}-{{ $externalLabels.cluster }}"),
		func(r *rules.Rule) {
			r.Annotations = map[string]string{
				"asked":  `{{ with query "up" }}{{ . | first | value }}{{ end }}`,
				"broken": `{{ index $labels 1 }}`,
				"url":    `{{ externalURL }} {{ pathPrefix }} {{ $externalURL }}`,
			}
		}))
	inBubble(t, rs, func(r *rig) {
		r.plan.ExternalLabels = labels.FromStrings("cluster", "c1", "severity", "none")
		r.e.Apply(r.plan)
		r.backend.set("x > 1", map[string]float64{"a": 2, "b": 9})
		r.backend.set("up", map[string]float64{"a": 42})
		r.pass(3 * time.Second)
		r.wantTold(0, "firing A", "firing A")
		a, b := r.store.changes[0], r.store.changes[1]
		if a.Labels.String() != `{alertname="A", cluster="c1", severity="warning", team="a-c1"}` || b.Labels.Get("severity") != "critical" {
			t.Errorf("%s, %s", a.Labels, b.Labels)
		}
		if a.Annotations["asked"] != "42" || !strings.HasPrefix(a.Annotations["broken"], "<error expanding template: ") || a.Annotations["url"] != "http://tocsin/x /x http://tocsin/x" {
			t.Errorf("%q", a.Annotations)
		}
		if n := len(r.backend.questions("up")); n != 1 {
			t.Errorf("the template's query was asked %d times", n)
		}
	})
}

func TestHangingTemplateQueryDelaysABit(t *testing.T) {
	inBubble(t, group(rule(t, "A", "x > 1", annotated("asked", `{{ query "up" }}`))), func(r *rig) {
		r.backend.set("x > 1", map[string]float64{"a": 2})
		r.backend.slow("up", time.Hour)
		r.pass(5 * time.Second)
		r.wantTold(0, "firing A")
		if got := r.store.changes[0].Annotations["asked"]; !strings.HasPrefix(got, "<error expanding template: ") {
			t.Errorf("%q", got)
		}
	})
}
