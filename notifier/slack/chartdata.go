package slack

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier/chart"
	"tocsin/oncall"
)

// Series answers how an expression went. The wiring implements it with the backends that rules are asked at.
type Series interface {
	// Series evaluates expr from one instant to another, as the rule behind the evidence is asked: at its backend, as its
	// tenant. Where there are too many series for a picture, the error is chart.ErrTooMany. Other errors are for people.
	Series(ctx context.Context, of oncall.Evidence, expr string, from, to time.Time, step time.Duration) ([]chart.Series, error)
}

const (
	chartPast    = 3 * time.Hour // before the first alert fired
	chartAfter   = 20 * time.Minute
	chartSteps   = 240
	chartFinest  = time.Second
	chartStrong  = 8  // lines of alerts, which are named
	chartFaint   = 40 // others
	chartForward = time.Hour
)

// plot is what one incident's chart is made of, before anybody is asked.
type plot struct {
	x        chart.Expression
	of       oncall.Evidence
	alerts   []oncall.IncidentAlert // of this expression, firing first
	chart    chart.Chart
	ended    bool
	levelFor func(labels.Labels) (chart.Line, bool)
}

var errNothingToDraw = errors.New("there is nothing to draw")

// newPlot chooses what to draw: the first alert whose expression shows something, and all others of that expression.
// ok is false where there is none.
func newPlot(in oncall.Incident, p oncall.Policy, now time.Time) (pl plot, ok bool) {
	for _, al := range ordered(in.Alerts) {
		if pl.x.Shown == "" {
			x, can := chart.Read(al.Evidence.Expr)
			if !can {
				continue
			}
			pl.x, pl.of = x, al.Evidence
		}
		if al.Evidence.Expr == pl.of.Expr && al.Evidence.Backend == pl.of.Backend && al.Evidence.Group == pl.of.Group {
			pl.alerts = append(pl.alerts, al)
		}
	}
	if pl.x.Shown == "" {
		return pl, false
	}
	pl.ended = !in.Open()
	c := &pl.chart
	c.Title = fmt.Sprintf("#%d %s", in.Number, clean(pl.alerts[0].Labels.Get(labels.AlertName)))
	c.Unit, c.Limited, c.Limit, c.Above = pl.x.Unit, pl.x.Limited, pl.x.Limit, pl.x.High
	c.Zone = zoneOf(in, p, now)
	c.Firing = pl.alerts[0].StartsAt
	for _, al := range pl.alerts {
		if al.StartsAt.Before(c.Firing) {
			c.Firing = al.StartsAt
		}
	}
	if pl.of.For > 0 {
		c.Pending = c.Firing.Add(-pl.of.For)
	}
	c.From, c.To = c.Firing.Add(-max(chartPast, 2*pl.x.Behind)), now
	if pl.ended {
		c.Resolved = in.ResolvedAt
		if end := in.ResolvedAt.Add(chartAfter); end.Before(now) {
			c.To = end
		}
	}
	pl.setStep()
	return pl, true
}

// setStep divides the span into at most chartSteps, at whole seconds.
func (pl *plot) setStep() {
	c := &pl.chart
	c.Step = max(c.To.Sub(c.From)/chartSteps, chartFinest).Round(time.Second)
	if c.Step > 15*time.Second {
		c.Step = c.Step.Round(15 * time.Second)
	}
	c.Step = max(c.Step, c.To.Sub(c.From)/(2*chartSteps))
	c.Step = (c.Step + time.Second - 1).Truncate(time.Second)
}

// ordered is how alerts matter: firing before resolved, then the oldest first.
func ordered(all []oncall.IncidentAlert) []oncall.IncidentAlert {
	out := slices.Clone(all)
	slices.SortStableFunc(out, func(a, b oncall.IncidentAlert) int {
		if ra, rb := a.State == oncall.StateResolved, b.State == oncall.StateResolved; ra != rb {
			if ra {
				return 1
			}
			return -1
		}
		return a.StartsAt.Compare(b.StartsAt)
	})
	return out
}

// zoneOf is the time zone of those whom the incident pages: of the first schedule, else of the first user. nil: UTC.
func zoneOf(in oncall.Incident, p oncall.Policy, now time.Time) *time.Location {
	var users, schedules []*time.Location
	for _, t := range in.Policy.Tiers {
		for _, target := range t.Targets {
			switch target.Kind {
			case oncall.TargetSchedule:
				if s, ok := p.Schedules[target.Name]; ok && s.TimeZone != nil {
					schedules = append(schedules, s.TimeZone)
				}
			case oncall.TargetUser:
				if u, ok := p.Users[target.Name]; ok && u.Location != nil {
					users = append(users, u.Location)
				}
			}
		}
	}
	zones := append(schedules, users...)
	if len(zones) == 0 {
		return nil
	}
	if _, offset := now.In(zones[0]).Zone(); offset == 0 {
		return nil // it would say the same as UTC
	}
	return zones[0]
}

// fill asks for the data and completes the chart.
func (pl *plot) fill(ctx context.Context, source Series) (*chart.Chart, error) {
	all, err := pl.ask(ctx, source)
	if err != nil {
		return nil, err
	}
	// A service that has not been up for long, or a story told faster than it was: what there is fills the picture.
	if first := firstPoint(all); !first.IsZero() && pl.chart.To.Sub(first) < pl.chart.To.Sub(pl.chart.From)/4 {
		pl.chart.From = first.Add(-pl.chart.Step)
		pl.setStep()
		if all, err = pl.ask(ctx, source); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: the backend has no data about it", errNothingToDraw)
	}
	strong := pl.choose(all)
	if pl.x.Level != "" {
		if levels, err := source.Series(ctx, pl.of, pl.x.Level, pl.chart.From, pl.chart.To, pl.chart.Step); err == nil {
			pl.levels(levels, strong)
		} // without it the picture still says something
	}
	pl.foresee(strong)
	return &pl.chart, nil
}

// ask asks for the series, or where there are too many of them, for the highest.
func (pl *plot) ask(ctx context.Context, source Series) ([]chart.Series, error) {
	c := &pl.chart
	all, err := source.Series(ctx, pl.of, pl.x.Shown, c.From, c.To, c.Step)
	if errors.Is(err, chart.ErrTooMany) {
		pick := "bottomk"
		if pl.x.High || !pl.x.Limited && pl.x.Level == "" {
			pick = "topk"
		}
		all, err = source.Series(ctx, pl.of, fmt.Sprintf("%s(%d, %s)", pick, chartStrong, pl.x.Shown), c.From, c.To, c.Step)
	}
	return all, err
}

func firstPoint(all []chart.Series) (first time.Time) {
	for _, s := range all {
		if len(s.Points) > 0 && (first.IsZero() || s.Points[0].At.Before(first)) {
			first = s.Points[0].At
		}
	}
	return first
}

// choose sorts the series into those of the alerts, in the order of these, and the others, and names them. It returns
// the first.
func (pl *plot) choose(all []chart.Series) (strong []chart.Series) {
	left := map[uint64]chart.Series{}
	for _, s := range all {
		left[nameless(s.Labels).Hash()] = s
	}
	for _, al := range pl.alerts {
		h := nameless(al.Evidence.Metric).Hash()
		if s, ok := left[h]; ok && len(strong) < chartStrong {
			strong = append(strong, s)
			delete(left, h)
		}
	}
	var rest []chart.Series
	for _, s := range left {
		rest = append(rest, s)
	}
	slices.SortFunc(rest, func(a, b chart.Series) int { // the nearest to the limit first, then by name
		x, y := latest(a), latest(b)
		if !pl.x.High && pl.x.Limited {
			x, y = -x, -y
		}
		if x != y {
			if x > y {
				return -1
			}
			return 1
		}
		return labels.Compare(a.Labels, b.Labels)
	})
	if len(strong) == 0 { // its alerts go by other labels: the highest will be among them
		n := min(len(rest), chartStrong)
		strong, rest = rest[:n:n], rest[n:]
	}
	names := nameLines(strong, rest)
	for i, s := range strong {
		pl.chart.Lines = append(pl.chart.Lines, chart.Line{Name: names[i], Points: s.Points})
	}
	for _, s := range rest[:min(len(rest), chartFaint)] {
		pl.chart.Lines = append(pl.chart.Lines, chart.Line{Points: s.Points, Faint: true})
	}
	pl.chart.More = max(0, len(rest)-chartFaint)
	return strong
}

func latest(s chart.Series) float64 {
	for i := len(s.Points) - 1; i >= 0; i-- {
		if v := s.Points[i].Value; !math.IsNaN(v) {
			return v
		}
	}
	return math.Inf(-1)
}

func nameless(ls labels.Labels) labels.Labels {
	return labels.NewBuilder(ls).Del(model.MetricNameLabel).Labels()
}

// nameLines names series by what tells them apart.
func nameLines(strong, rest []chart.Series) []string {
	values := map[string]map[string]bool{}
	for _, s := range slices.Concat(strong, rest) {
		nameless(s.Labels).Range(func(l labels.Label) {
			if values[l.Name] == nil {
				values[l.Name] = map[string]bool{}
			}
			values[l.Name][l.Value] = true
		})
	}
	out := make([]string, len(strong))
	for i, s := range strong {
		var parts []string
		nameless(s.Labels).Range(func(l labels.Label) {
			if len(values[l.Name]) > 1 {
				parts = append(parts, shorten(clean(l.Value), 60))
			}
		})
		if len(parts) == 0 {
			for _, name := range []string{"instance", "pod", "host", "service", "job"} {
				if v := s.Labels.Get(name); v != "" && len(parts) == 0 {
					parts = append(parts, shorten(clean(v), 60))
				}
			}
		}
		if out[i] = strings.Join(parts, " "); out[i] == "" {
			out[i] = "value"
		}
	}
	return out
}

// levels draws what the series are compared with, where that is no number: each value once.
func (pl *plot) levels(all, strong []chart.Series) {
	byLabels := map[uint64]chart.Line{}
	for _, s := range all {
		byLabels[nameless(s.Labels).Hash()] = chart.Line{Points: s.Points}
	}
	pl.levelFor = func(ls labels.Labels) (chart.Line, bool) {
		l, ok := byLabels[nameless(ls).Hash()]
		if !ok && len(all) == 1 {
			return chart.Line{Points: all[0].Points}, true
		}
		return l, ok
	}
	seen := map[float64]bool{}
	for _, s := range strong {
		if l, ok := pl.levelFor(s.Labels); ok {
			if v := latest(chart.Series{Points: l.Points}); !seen[v] {
				seen[v] = true
				pl.chart.Levels = append(pl.chart.Levels, l)
			}
		}
	}
}

// foresee draws where a leak leads: of several lines the one that is there first.
func (pl *plot) foresee(strong []chart.Series) {
	if !pl.x.Leak || pl.ended {
		return
	}
	behind := pl.x.Behind
	if behind <= 0 {
		behind = chartForward
	}
	for i, s := range strong {
		level, ok := pl.x.Limit, pl.x.Limited
		if !ok && pl.levelFor != nil {
			var l chart.Line
			if l, ok = pl.levelFor(s.Labels); ok {
				level = latest(chart.Series{Points: l.Points})
			}
		}
		if f := chart.ForecastOf(s.Points, behind, level); ok && f != nil && (pl.chart.Forecast == nil || f.Reach.Before(pl.chart.Forecast.Reach)) {
			f.Line = i
			pl.chart.Forecast = f
		}
	}
}
