package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/alertmanager/api/v2/models"

	"tocsin/notifier"
	"tocsin/oncall"
)

// amTime is the form of instants in Alertmanager's API.
const amTime = "2006-01-02T15:04:05.000Z07:00"

func (w *Web) amAlerts(rw http.ResponseWriter, r *http.Request) {
	f, err := w.amFilter(r.URL.Query())
	if err != nil {
		w.amBadRequest(rw, err.Error())
		return
	}
	if !w.dispatching(rw) {
		return
	}
	at := now()
	alerts := w.o.Alertmanager.Dispatch.Alerts(at)
	w.amStream(rw, r, func(j *amStream) {
		j.until = at.Add(w.resolveTimeout())
		first := true
		for i := range alerts {
			a := &alerts[i]
			if j.err != nil {
				return
			}
			if !f.takesOneOf(a.Receivers) || !f.takes(a) {
				continue
			}
			j.comma(first)
			first = false
			j.alert(a, nil, nil)
		}
	})
}

func (w *Web) amGroups(rw http.ResponseWriter, r *http.Request) {
	f, err := w.amFilter(r.URL.Query())
	if err != nil {
		w.amBadRequest(rw, err.Error())
		return
	}
	if !w.dispatching(rw) {
		return
	}
	at := now()
	groups := w.o.Alertmanager.Dispatch.Groups(at)
	w.amStream(rw, r, func(j *amStream) {
		j.until = at.Add(w.resolveTimeout())
		first := true
		for i := range groups {
			if j.err != nil {
				return
			}
			g := &groups[i]
			if !f.takesReceiver(g.Receiver) || !f.muted && len(g.MutedBy) > 0 {
				continue
			}
			taken := slices.DeleteFunc(slices.Clone(g.Alerts), func(a notifier.AlertView) bool { return !f.takes(&a) })
			if len(taken) == 0 {
				continue
			}
			j.comma(first)
			first = false
			j.group(g, taken, &f, w.routeLabels(g))
		}
	})
}

func (w *Web) resolveTimeout() time.Duration {
	if d := w.o.Policy().Routing.ResolveTimeout; d != 0 {
		return d
	}
	return oncall.DefaultResolveTimeout
}

func (w *Web) routeLabels(g *notifier.GroupView) map[string]string {
	if f := w.o.Alertmanager.RouteLabels; f != nil {
		return f(*g)
	}
	if g.Route == nil || g.Route.Labels == nil {
		return map[string]string{}
	}
	return g.Route.Labels
}

// amStream writes Alertmanager's form of alerts and groups as it goes. Its fields stand in the order in which the
// published models have them.
type amStream struct {
	jsonStream
	until time.Time // what is shown as the end of alerts that nobody gave one
}

// amStream answers with a list of what write encodes. Nothing can be refused any more once it has begun.
func (w *Web) amStream(rw http.ResponseWriter, r *http.Request, write func(*amStream)) {
	rw.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodHead {
		return
	}
	j := &amStream{jsonStream: jsonStream{w: rw, b: make([]byte, 0, spill+spill/4)}}
	j.raw("[")
	write(j)
	j.raw("]\n")
	j.flush() // an error says that the caller has gone: nobody is left to tell
}

func (j *amStream) group(g *notifier.GroupView, alerts []notifier.AlertView, f *alertFilter, routeLabels map[string]string) {
	j.raw(`{"alerts":[`)
	for i := range alerts {
		if j.err != nil {
			return
		}
		j.comma(i == 0)
		j.alert(&alerts[i], g.MutedBy, f)
	}
	j.raw(`],"labels":`)
	j.unescaped(models.LabelSet(g.Labels.Map()))
	j.raw(`,"receiver":`)
	j.unescaped(models.ReceiverReference{Name: &g.Receiver})
	j.raw(`,"routeLabels":`)
	j.unescaped(models.LabelSet(routeLabels))
	j.raw("}")
}

// unescaped writes what belongs to a group itself: Alertmanager's runtime leaves <, > and & there as they are,
// and escapes them in alerts.
func (j *amStream) unescaped(v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // strings have no reason to fail
		j.raw("null")
		return
	}
	j.b = append(j.b, bytes.TrimRight(b.Bytes(), "\n")...)
}

// alert writes one alert. only narrows the receivers that are shown, nil: all.
func (j *amStream) alert(a *notifier.AlertView, mutedBy []string, only *alertFilter) {
	al := a.Alert
	j.labels(`{"annotations":`, al.Annotations)
	end := time.UnixMicro(al.EndsAt)
	if len(al.Rules) > 0 && end.Before(j.until) {
		end = j.until // our own rule says when it ends, and has not
	}
	j.time(`,"endsAt":`, end)
	j.raw(`,"fingerprint":`)
	j.fingerprint(al.Fingerprint)
	j.raw(`,"receivers":[`)
	first := true
	for _, name := range a.Receivers {
		if only != nil && !only.takesReceiver(name) {
			continue
		}
		if !first {
			j.raw(",")
		}
		first = false
		j.field(`{"name":`, name)
		j.raw("}")
	}
	j.time(`],"startsAt":`, time.UnixMicro(al.StartsAt))
	j.raw(`,"status":{"inhibitedBy":[`)
	for i, fp := range a.InhibitedBy {
		if i > 0 {
			j.raw(",")
		}
		j.fingerprint(fp)
	}
	j.list(`],"mutedBy":`, mutedBy)
	j.list(`,"silencedBy":`, a.SilencedBy)
	state := a.State
	if len(mutedBy) > 0 {
		state = notifier.AlertSuppressed
	}
	j.field(`,"state":`, state)
	j.time(`},"updatedAt":`, time.UnixMicro(al.UpdatedAt))
	if al.GeneratorURL != "" {
		j.field(`,"generatorURL":`, al.GeneratorURL)
	}
	j.labels(`,"labels":`, al.Labels)
	j.raw("}")
}

func (j *amStream) time(begin string, t time.Time) {
	j.raw(begin)
	t = t.UTC()
	year, month, day := t.Date()
	if year < 1000 || year > 9999 {
		j.b = append(j.b, '"')
		j.b = t.AppendFormat(j.b, amTime)
		j.b = append(j.b, '"')
		return
	}
	hour, minute, second := t.Clock()
	ms := t.Nanosecond() / 1e6
	// By hand, since the layout is read anew for each instant, and a list has hundreds of thousands.
	digit := func(n int) byte { return byte('0' + n%10) }
	j.b = append(j.b, '"', digit(year/1000), digit(year/100), digit(year/10), digit(year), '-',
		digit(int(month)/10), digit(int(month)), '-', digit(day/10), digit(day), 'T',
		digit(hour/10), digit(hour), ':', digit(minute/10), digit(minute), ':', digit(second/10), digit(second), '.',
		digit(ms/100), digit(ms/10), digit(ms), 'Z', '"')
}

func (j *amStream) fingerprint(fp uint64) {
	j.b = append(j.b, '"')
	for shift := 60; shift > 0 && fp>>shift == 0; shift -= 4 {
		j.b = append(j.b, '0')
	}
	j.b = strconv.AppendUint(j.b, fp, 16)
	j.b = append(j.b, '"')
}

func (j *amStream) list(begin string, names []string) {
	j.raw(begin)
	j.raw("[")
	for i, name := range names {
		if i > 0 {
			j.raw(",")
		}
		j.b = jsonString(j.b, name)
	}
	j.raw("]")
}
