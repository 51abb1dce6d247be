package alertmanager

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/alert"
	amcommon "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/marker"
	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/provider"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

// heldAlerts gives Alertmanager's inhibitor its alerts at once, and no further ones.
type heldAlerts struct {
	provider.Alerts
	alerts []*alert.Alert
}

func (h heldAlerts) SlurpAndSubscribe(string) ([]*alert.Alert, provider.AlertIterator) {
	return h.alerts, provider.NewAlertIterator(make(chan *provider.Alert), make(chan struct{}), nil)
}

// theirInhibitor runs Alertmanager's inhibitor over the alerts; stop ends it and waits.
func theirInhibitor(rules []amcommon.InhibitRule, alerts []*alert.Alert) (h *inhibit.Inhibitor, stop func()) {
	h = inhibit.NewInhibitor(heldAlerts{alerts: alerts}, rules, slog.New(slog.DiscardHandler), eventrecorder.NopRecorder())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.Run()
	}()
	h.WaitForLoading()
	return h, func() {
		h.Stop()
		<-ended
	}
}

func drawInhibitMatchers(t *rapid.T) amlabels.Matchers {
	var ms amlabels.Matchers
	for range rapid.IntRange(0, 2).Draw(t, "matchers") {
		typ := amlabels.MatchType(rapid.IntRange(0, 3).Draw(t, "type"))
		value := rapid.SampledFrom([]string{"", "x", "y", "x|y", ".*", ".+"}).Draw(t, "value")
		m, err := amlabels.NewMatcher(typ, rapid.SampledFrom([]string{"a", "b", "größe"}).Draw(t, "name"), value)
		if err != nil {
			t.Fatal(err)
		}
		ms = append(ms, m)
	}
	return ms
}

// TestInhibitorIsAlertmanagers: of any rules and any alerts, the same are muted, and by a source that
// Alertmanager could have named.
func TestInhibitorIsAlertmanagers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ours []oncall.InhibitRule
		var theirs []amcommon.InhibitRule
		for range rapid.IntRange(1, 3).Draw(t, "rules") {
			r := oncall.InhibitRule{Source: drawInhibitMatchers(t), Target: drawInhibitMatchers(t),
				Equal: rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "größe", "nowhere"}), 0, 3).Draw(t, "equal")}
			ours = append(ours, r)
			theirs = append(theirs, amcommon.InhibitRule{SourceMatchers: amcommon.Matchers(r.Source), TargetMatchers: amcommon.Matchers(r.Target), Equal: r.Equal})
		}
		h := oncall.NewInhibitor(ours)
		all := map[uint64]labels.Labels{}
		var held []*alert.Alert
		for range rapid.IntRange(0, 8).Draw(t, "alerts") {
			b, set := labels.NewBuilder(labels.EmptyLabels()), model.LabelSet{}
			for _, n := range []string{"a", "b", "größe"} {
				if v := rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, n); v != "" {
					b.Set(n, v)
					set[model.LabelName(n)] = model.LabelValue(v)
				}
			}
			fp := uint64(set.Fingerprint())
			if _, ok := all[fp]; ok {
				continue
			}
			all[fp] = b.Labels()
			ends, firing := time.Now().Add(time.Hour), rapid.Bool().Draw(t, "firing")
			if !firing {
				ends = time.Now().Add(-time.Minute)
			}
			held = append(held, &alert.Alert{Alert: model.Alert{Labels: set, StartsAt: time.Now().Add(-time.Hour), EndsAt: ends}})
			if rapid.Bool().Draw(t, "on and off") {
				h.Set(fp, all[fp], !firing)
			}
			h.Set(fp, all[fp], firing)
		}
		their, stop := theirInhibitor(theirs, held)
		defer stop()
		for _, a := range held {
			fp := uint64(a.Labels.Fingerprint())
			by, ok := h.Inhibited(fp, all[fp])
			m := marker.NewAlertMarker()
			if want := their.Mutes(marker.WithContext(context.Background(), m), a.Labels); ok != want {
				t.Fatalf("%s of %v: muted is %v, by %x; Alertmanager says %v", all[fp], ours, ok, by, m.Status(a.Labels.Fingerprint()).InhibitedBy)
			}
		}
	})
}

// BenchmarkTheirInhibitor is what the same costs there.
func BenchmarkTheirInhibitor(b *testing.B) {
	var rules []amcommon.InhibitRule
	for i := range 10_000 {
		equal := func(n, v string) amcommon.Matchers {
			m, err := amlabels.NewMatcher(amlabels.MatchEqual, n, v)
			if err != nil {
				b.Fatal(err)
			}
			return amcommon.Matchers{m}
		}
		rules = append(rules, amcommon.InhibitRule{SourceMatchers: equal("alertname", "Down-"+string(rune(0x4e00+i))), TargetMatchers: equal("severity", "warning"), Equal: []string{"cluster"}})
	}
	h, stop := theirInhibitor(rules, nil)
	defer stop()
	set := model.LabelSet{"alertname": "SessionMemoryHigh", "cluster": "shop-1", "instance": "web-17:9100", "job": "session", "severity": "warning"}
	for b.Loop() {
		h.Mutes(context.Background(), set)
	}
}
