package alertmanager

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/alertmanager/notify"
	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

// What the dispatcher decides is held here to Alertmanager's own code.

var drawLabels = rapid.Custom(func(t *rapid.T) map[string]string {
	ls := map[string]string{}
	for _, name := range []string{"alertname", "instance", "job", "team"} {
		if v := rapid.SampledFrom([]string{"", "a", "b", "c\"\\\n"}).Draw(t, name); v != "" {
			ls[name] = v
		}
	}
	return ls
})

func labelSetOf(ls map[string]string) model.LabelSet {
	set := model.LabelSet{}
	for n, v := range ls {
		set[model.LabelName(n)] = model.LabelValue(v)
	}
	return set
}

func drawRoute(t *rapid.T, depth int) *config.Route {
	cr := &config.Route{Receiver: rapid.SampledFrom([]string{"", "r1", "r2"}).Draw(t, "receiver"), Continue: rapid.Bool().Draw(t, "continue")}
	for range rapid.IntRange(0, 2).Draw(t, "matchers") {
		m, err := amlabels.NewMatcher(rapid.SampledFrom([]amlabels.MatchType{amlabels.MatchEqual, amlabels.MatchNotEqual, amlabels.MatchRegexp, amlabels.MatchNotRegexp}).Draw(t, "type"),
			rapid.SampledFrom([]string{"job", "team", "instance"}).Draw(t, "name"), rapid.SampledFrom([]string{"", "a", "b", "a|b"}).Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		cr.Matchers = append(cr.Matchers, m)
	}
	if depth > 0 {
		for range rapid.IntRange(0, 3).Draw(t, "routes") {
			cr.Routes = append(cr.Routes, drawRoute(t, depth-1))
		}
	}
	return cr
}

func TestRouteMatchOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cr := drawRoute(t, 3)
		cr.Matchers, cr.Continue, cr.Receiver = nil, false, "root"
		cr.GroupByStr = []string{"job", "team"}
		for _, name := range cr.GroupByStr {
			cr.GroupBy = append(cr.GroupBy, model.LabelName(name))
		}
		theirs := dispatch.NewRoute(cr, nil)
		ours := oursOf(theirs)
		for range 5 {
			ls := drawLabels.Draw(t, "labels")
			want := theirs.Match(labelSetOf(ls))
			got := ours.Match(labels.FromMap(ls))
			if len(got) != len(want) {
				t.Fatalf("%v takes %d routes, want %d", ls, len(got), len(want))
			}
			for i, r := range got {
				if r.ID != want[i].ID() {
					t.Fatalf("%v takes %s, want %s", ls, r.ID, want[i].ID())
				}
				group := model.LabelSet{}
				for n, v := range labelSetOf(ls) {
					if _, ok := want[i].RouteOpts.GroupBy[n]; ok {
						group[n] = v
					}
				}
				key := fmt.Sprintf("%s:%s", want[i].Key(), group)
				if of := r.GroupLabelsOf(labels.FromMap(ls)); r.GroupKeyOf(of) != key {
					t.Fatalf("the group's key is %s, want %s", r.GroupKeyOf(of), key)
				}
			}
		}
	})
}

// oursOf is a route tree as the dispatcher has it, made here from Alertmanager's so that only matching is compared.
func oursOf(r *dispatch.Route) *oncall.Route {
	o := &oncall.Route{ID: r.ID(), Key: r.Key(), Receiver: r.RouteOpts.Receiver, Matchers: r.Matchers, Continue: r.Continue}
	for name := range r.RouteOpts.GroupBy {
		o.GroupBy = append(o.GroupBy, string(name))
	}
	slices.Sort(o.GroupBy)
	for _, child := range r.Routes {
		o.Routes = append(o.Routes, oursOf(child))
	}
	return o
}

func TestSortAlertsOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sets := rapid.SliceOfN(drawLabels, 0, 8).Draw(t, "alerts")
		var theirs alert.AlertSlice
		var ours []labels.Labels
		for _, ls := range sets {
			theirs = append(theirs, &alert.Alert{Alert: model.Alert{Labels: labelSetOf(ls)}})
			ours = append(ours, labels.FromMap(ls))
		}
		sort.Stable(theirs)
		oncall.SortAlerts(ours, func(ls labels.Labels) labels.Labels { return ls })
		for i := range ours {
			if got, want := ours[i].Map(), theirs[i].Labels; !labelSetOf(got).Equal(want) {
				t.Fatalf("at %d is %v, want %v", i, got, want)
			}
		}
	})
}

// TestMergeOracle: as the memory of Alertmanager takes alerts in, spans that overlap are merged.
func TestMergeOracle(t *testing.T) {
	base := time.Now().Add(-10 * time.Minute).Truncate(time.Second)
	rapid.Check(t, func(t *rapid.T) {
		var ours *oncall.ActiveAlert
		var theirs *alert.Alert
		// Alertmanager asks the clock what has resolved: all that is posted is far from now.
		instant := func(what string) time.Time {
			minutes := rapid.IntRange(-9, 9).Draw(t, what)
			if minutes >= 0 {
				return base.Add(24*time.Hour + time.Duration(minutes)*time.Minute)
			}
			return base.Add(time.Duration(minutes) * time.Minute)
		}
		for i := range rapid.IntRange(1, 5).Draw(t, "posts") {
			at := base.Add(11*time.Minute + time.Duration(i)*time.Second)
			p := oncall.PostedAlert{
				Labels: labels.FromStrings("a", "b"), StartsAt: instant("starts"), EndsAt: instant("ends"), Timeout: rapid.Bool().Draw(t, "timeout"),
			}
			ours = oncall.MergePosted(ours, p, at, int64(i+1))
			next := &alert.Alert{Alert: model.Alert{StartsAt: p.StartsAt, EndsAt: p.EndsAt}, UpdatedAt: at, Timeout: p.Timeout}
			if old := theirs; old != nil {
				if (next.EndsAt.After(old.StartsAt) && next.EndsAt.Before(old.EndsAt)) || (next.StartsAt.After(old.StartsAt) && next.StartsAt.Before(old.EndsAt)) {
					next = old.Merge(next)
				}
			}
			theirs = next
			if ours.StartsAt != theirs.StartsAt.UnixMicro() || ours.EndsAt != theirs.EndsAt.UnixMicro() || ours.Timeout != theirs.Timeout {
				t.Fatalf("%s … %s, timeout %t, want %s … %s, %t", time.UnixMicro(ours.StartsAt), time.UnixMicro(ours.EndsAt), ours.Timeout,
					theirs.StartsAt, theirs.EndsAt, theirs.Timeout)
			}
		}
	})
}

type sendsResolved bool

func (s sendsResolved) SendResolved() bool { return bool(s) }

// logOf is a notification log with at most one entry.
type logOf struct{ entry *nflogpb.Entry }

func (l logOf) Log(*nflogpb.Receiver, string, []uint64, []uint64, *nflog.Store, time.Duration) error {
	return nil
}

func (l logOf) Query(...nflog.QueryParam) ([]*nflogpb.Entry, error) {
	if l.entry == nil {
		return nil, nflog.ErrNotFound
	}
	return []*nflogpb.Entry{l.entry}, nil
}

func TestNeedsUpdateOracle(t *testing.T) {
	reasons := map[string]string{
		notify.ReasonDoNotNotify.String(): oncall.ReasonNone, notify.ReasonFirstNotification.String(): oncall.ReasonFirstNotification,
		notify.ReasonNewAlertsInGroup.String(): oncall.ReasonNewAlertsInGroup, notify.ReasonNewResolvedAlerts.String(): oncall.ReasonNewResolvedAlerts,
		notify.ReasonAllAlertsResolved.String(): oncall.ReasonAllAlertsResolved, notify.ReasonRepeatIntervalElapsed.String(): oncall.ReasonRepeatIntervalElapsed,
	}
	alerts, hashes := oracleAlerts(t)
	now := time.Now()
	rapid.Check(t, func(t *rapid.T) {
		var firing, resolved, lastFiring, lastResolved []uint64
		var group []*alert.Alert
		for i, a := range alerts {
			switch rapid.SampledFrom([]string{"firing", "resolved", "absent"}).Draw(t, "is") {
			case "firing":
				firing, group = append(firing, hashes[i]), append(group, a)
			case "resolved":
				over := *a
				over.EndsAt = now.Add(-time.Minute)
				resolved, group = append(resolved, hashes[i]), append(group, &over)
			}
			switch rapid.SampledFrom([]string{"firing", "resolved", "absent"}).Draw(t, "was") {
			case "firing":
				lastFiring = append(lastFiring, hashes[i])
			case "resolved":
				lastResolved = append(lastResolved, hashes[i])
			}
		}
		for _, s := range [][]uint64{firing, resolved, lastFiring, lastResolved} {
			slices.Sort(s)
		}
		send := rapid.Bool().Draw(t, "send_resolved")
		log, last := logOf{}, oncall.Notice{}
		if rapid.Bool().Draw(t, "told") {
			// At the very instant it repeats here and not there: what was told counts from a flush here, and its
			// repeat falls on one, while there it counts from a moment that no flush meets again.
			at := now.Add(-time.Hour + time.Duration(rapid.SampledFrom([]int{-1, 1}).Draw(t, "age"))*time.Nanosecond)
			log.entry = &nflogpb.Entry{Timestamp: timestamppb.New(at), FiringAlerts: lastFiring, ResolvedAlerts: lastResolved}
			last = oncall.Notice{At: at, Firing: lastFiring, Resolved: lastResolved}
		}
		ctx := notify.WithRepeatInterval(notify.WithNow(notify.WithGroupKey(context.Background(), "k"), now), time.Hour)
		ctx, _, err := notify.NewDedupStage(sendsResolved(send), log, &nflogpb.Receiver{}).Exec(ctx, promslog.NewNopLogger(), group...)
		if err != nil {
			t.Fatal(err)
		}
		reason, _ := notify.NotificationReason(ctx)
		if got, want := oncall.NeedsUpdate(last, firing, resolved, send, time.Hour, now), reasons[reason.String()]; got != want {
			t.Fatalf("firing %d, resolved %d, last %+v, send_resolved %t: %q, want %q", firing, resolved, last, send, got, want)
		}
	})
}

// oracleAlerts returns firing alerts with the hashes by which Alertmanager's stages know them.
func oracleAlerts(t *testing.T) (alerts []*alert.Alert, hashes []uint64) {
	for i := range 4 {
		a := &alert.Alert{Alert: model.Alert{Labels: model.LabelSet{"n": model.LabelValue(fmt.Sprint(i))}}}
		ctx := notify.WithRepeatInterval(notify.WithGroupKey(context.Background(), "k"), time.Hour)
		ctx, _, err := notify.NewDedupStage(sendsResolved(true), logOf{}, &nflogpb.Receiver{}).Exec(ctx, promslog.NewNopLogger(), a)
		if err != nil {
			t.Fatal(err)
		}
		firing, _ := notify.FiringAlerts(ctx)
		alerts, hashes = append(alerts, a), append(hashes, firing[0])
	}
	return alerts, hashes
}
