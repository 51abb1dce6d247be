package web

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/evaluator"
	"tocsin/oncall"
)

// spill is how much of an answer is held before it is sent on: a hundred thousand alerts are some 40 MB.
const spill = 64 << 10

// jsonStream writes Prometheus' form of rules and alerts as it goes. The first error of the writer is kept;
// what follows it is not encoded any more.
type jsonStream struct {
	w     io.Writer
	b     []byte
	names []string // of annotations, reused
	err   error
}

// stream answers with what write encodes. Nothing can be refused any more once it has begun.
func (w *Web) stream(rw http.ResponseWriter, r *http.Request, write func(*jsonStream)) {
	rw.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodHead {
		return
	}
	j := &jsonStream{w: rw, b: make([]byte, 0, spill+spill/4)}
	j.raw(`{"status":"success","data":`)
	write(j)
	j.raw("}\n")
	j.flush() // an error says that the caller has gone: nobody is left to tell
}

func (j *jsonStream) raw(s string) { j.b = append(j.b, s...) }

// field begins a field with a string value.
func (j *jsonStream) field(begin, value string) {
	j.raw(begin)
	j.b = jsonString(j.b, value)
}

func (j *jsonStream) flush() {
	if j.err == nil {
		_, j.err = j.w.Write(j.b)
	}
	j.b = j.b[:0]
}

// comma separates the elements of a list, and sends on what has come together.
func (j *jsonStream) comma(first bool) {
	if !first {
		j.b = append(j.b, ',')
	}
	if len(j.b) >= spill {
		j.flush()
	}
}

func (j *jsonStream) rules(groups []ruleGroup, next string, excludeAlerts bool) {
	j.raw(`{"groups":[`)
	for i := range groups {
		if j.err != nil {
			return
		}
		j.comma(i == 0)
		j.group(&groups[i], excludeAlerts)
	}
	j.raw("]")
	if next != "" {
		j.field(`,"groupNextToken":`, next)
	}
	j.raw("}")
}

func (j *jsonStream) group(g *ruleGroup, excludeAlerts bool) {
	j.field(`{"name":`, g.Name)
	j.field(`,"file":`, g.File)
	j.raw(`,"rules":[`)
	for i, r := range g.selected {
		if j.err != nil {
			return
		}
		j.comma(i == 0)
		if r.Type == evaluator.Recording {
			j.recordingRule(r)
		} else {
			j.alertingRule(r, excludeAlerts)
		}
	}
	j.seconds(`],"interval":`, g.Interval)
	j.raw(`,"limit":`)
	j.b = strconv.AppendInt(j.b, int64(g.Limit), 10)
	j.evaluated(g.EvaluationTime, g.LastEvaluation)
	j.raw("}")
}

func (j *jsonStream) alertingRule(r *evaluator.RuleStatus, excludeAlerts bool) {
	j.field(`{"state":`, ruleState(r))
	j.field(`,"name":`, r.Name)
	j.field(`,"query":`, r.Query)
	j.seconds(`,"duration":`, r.For)
	j.seconds(`,"keepFiringFor":`, r.KeepFiringFor)
	j.labels(`,"labels":`, r.Labels)
	j.annotations(r.Annotations)
	if excludeAlerts {
		j.raw(`,"alerts":null`)
	} else {
		j.raw(`,"alerts":[`)
		j.alerts(r.Alerts, true)
		j.raw("]")
	}
	j.health(r)
	j.raw(`,"type":"alerting"}`)
}

func (j *jsonStream) recordingRule(r *evaluator.RuleStatus) {
	j.field(`{"name":`, r.Name)
	j.field(`,"query":`, r.Query)
	j.labels(`,"labels":`, r.Labels)
	j.health(r)
	j.raw(`,"type":"recording"}`)
}

// ruleState is that of the foremost alert. Without one, a rule that was never evaluated says so.
func ruleState(r *evaluator.RuleStatus) string {
	switch {
	case r.State != oncall.StateInactive && r.State != "":
		return string(r.State)
	case r.LastEvaluation.IsZero():
		return "unknown"
	}
	return string(oncall.StateInactive)
}

func (j *jsonStream) health(r *evaluator.RuleStatus) {
	j.field(`,"health":`, r.Health)
	if r.LastError != "" {
		j.field(`,"lastError":`, r.LastError)
	}
	j.evaluated(r.EvaluationTime, r.LastEvaluation)
}

func (j *jsonStream) evaluated(took time.Duration, at time.Time) {
	j.seconds(`,"evaluationTime":`, took)
	j.instant(`,"lastEvaluation":`, at)
}

func (j *jsonStream) alertList(groups []evaluator.GroupStatus) {
	j.raw(`{"alerts":[`)
	first := true
	for i := range groups {
		for k := range groups[i].Rules {
			if j.err != nil {
				return
			}
			alerts := groups[i].Rules[k].Alerts
			j.alerts(alerts, first)
			first = first && len(alerts) == 0
		}
	}
	j.raw("]}")
}

// alerts writes the elements of a list; first says that none precedes them.
func (j *jsonStream) alerts(alerts []evaluator.AlertStatus, first bool) {
	for i := range alerts {
		if j.err != nil {
			return
		}
		a := &alerts[i]
		j.comma(first && i == 0)
		j.labels(`{"labels":`, a.Labels)
		j.annotations(a.Annotations)
		j.field(`,"state":`, string(a.State))
		j.instant(`,"activeAt":`, a.ActiveAt)
		if !a.KeepFiringSince.IsZero() {
			j.instant(`,"keepFiringSince":`, a.KeepFiringSince)
		}
		j.raw(`,"value":"`)
		j.b = strconv.AppendFloat(j.b, a.Value, 'e', -1, 64)
		j.raw(`"}`)
	}
}

func (j *jsonStream) labels(begin string, ls labels.Labels) {
	j.raw(begin)
	j.raw("{")
	first := true
	ls.Range(func(l labels.Label) {
		j.member(first, l.Name, l.Value)
		first = false
	})
	j.raw("}")
}

// annotations are sorted by name, as labels are.
func (j *jsonStream) annotations(m map[string]string) {
	j.raw(`,"annotations":{`)
	j.names = slices.AppendSeq(j.names[:0], maps.Keys(m))
	slices.Sort(j.names)
	for i, name := range j.names {
		j.member(i == 0, name, m[name])
	}
	j.raw("}")
}

func (j *jsonStream) member(first bool, name, value string) {
	if !first {
		j.b = append(j.b, ',')
	}
	j.b = jsonString(j.b, name)
	j.b = append(j.b, ':')
	j.b = jsonString(j.b, value)
}

func (j *jsonStream) seconds(begin string, d time.Duration) {
	j.raw(begin)
	number, err := json.Marshal(d.Seconds())
	if err != nil { // a duration is finite
		number = []byte("0")
	}
	j.b = append(j.b, number...)
}

func (j *jsonStream) instant(begin string, t time.Time) {
	j.raw(begin)
	j.b = append(j.b, '"')
	j.b = t.UTC().AppendFormat(j.b, time.RFC3339Nano)
	j.b = append(j.b, '"')
}
