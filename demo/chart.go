package demo

import (
	"fmt"
	"strings"
	"time"
)

// The time axis of the chart and of the lanes below it.
var (
	axisFrom = time.Date(2024, 9, 23, 12, 30, 0, 0, time.UTC)
	axisTo   = storyEnd
)

// chart is the picture of a run, in the coordinates of its own viewBox. There are two sizes, so that text
// stays readable on a phone.
type chart struct {
	Name                     string // wide or narrow
	W, H                     float64
	Left, Right, Top, Bottom float64 // of the plot
	Grid                     []mark  // hours and half hours
	Levels                   []mark  // shares of the limit
	Lines                    []line
	Errors                   string // area of failing checkouts
	Marks                    []mark // what tocsin and people did, on the curve
	Now                      float64
	Outage                   span // of 2024, as far as it has come
	Lanes                    []lane
}

// Where the template puts what is not in the plot.

// PlotH is the plot's height.
func (c chart) PlotH() float64 { return c.Bottom - c.Top }

// OutageMid and OutageY place the name of the shaded time.
func (c chart) OutageMid() float64 { return c.Outage.X + c.Outage.W/2 }

// OutageY is a line above the axis.
func (c chart) OutageY() float64 { return c.Bottom - 10 }

// TickY is the baseline of the hours.
func (c chart) TickY() float64 { return c.Bottom + 16 }

// SideX is where the labels at the left end.
func (c chart) SideX() float64 { return c.Left - 6 }

// LaneEnd is below the last lane.
func (c chart) LaneEnd() float64 { return c.Bottom + 76 }

type mark struct {
	X, Y  float64
	Label string
	Kind  kind
}

type line struct{ Name, Points string }

type span struct{ X, W float64 }

// lane is a bar per phase: who knows, who has it, over.
type lane struct {
	Label string
	Y     float64
	Bars  []bar
	Dots  []mark
}

type bar struct {
	X, W  float64
	Kind  kind
	Title string
}

// End is the bar's right end.
func (b bar) End() float64 { return b.X + b.W }

// draw makes the chart of a run at a story time.
func (r *run) draw(name string, width, height float64, now time.Time) chart {
	c := chart{Name: name, W: width, H: height, Left: 50, Right: width - 12, Top: 16, Bottom: height - 92}
	if now.After(axisTo) {
		now = axisTo
	}
	every := 30 * time.Minute
	for t := axisFrom; !t.After(axisTo); t = t.Add(every) {
		c.Grid = append(c.Grid, mark{X: c.x(t), Label: hhmm(t)})
	}
	for _, l := range []struct {
		share float64
		label string
	}{{0, "0"}, {0.5, "50 %"}, {0.8, "80 %"}, {1, "limit"}} {
		c.Levels = append(c.Levels, mark{Y: c.y(l.share), Label: l.label})
	}
	c.curves(r)
	c.Now = c.x(now)
	c.Outage = c.between(outageStart, outageEnd)
	c.Marks = c.marks(r)
	c.Lanes = []lane{c.lane2024(now), c.laneTocsin(r, now)}
	return c
}

func (c chart) x(t time.Time) float64 {
	share := float64(t.Sub(axisFrom)) / float64(axisTo.Sub(axisFrom))
	return round1(c.Left + min(max(share, 0), 1)*(c.Right-c.Left))
}

func (c chart) y(share float64) float64 {
	return round1(c.Bottom - share/1.06*(c.Bottom-c.Top))
}

func round1(f float64) float64 { return float64(int(f*10+0.5)) / 10 }

func (c chart) between(from, to time.Time) span {
	x := c.x(from)
	return span{x, max(round1(c.x(to)-x), 0)}
}

// curves draws memory as lines, interrupted where an instance is down, and errors as an area.
func (c *chart) curves(r *run) {
	if len(r.curve) == 0 {
		return
	}
	var area strings.Builder
	fmt.Fprintf(&area, "M%.1f %.1f", c.x(axisFrom), c.y(0))
	paths := make([]strings.Builder, len(r.service.instances))
	pen := make([]bool, len(paths))
	last := -1.0
	for _, p := range r.curve {
		x := c.x(p.at)
		if p.at.Before(axisFrom) || x-last < 0.6 { // more points than that cannot be seen
			continue
		}
		last = x
		fmt.Fprintf(&area, "L%.1f %.1f", x, c.y(p.errors))
		for i, m := range p.memory {
			op := "L"
			if m == 0 {
				pen[i] = false
				continue
			}
			if !pen[i] {
				op, pen[i] = "M", true
			}
			fmt.Fprintf(&paths[i], "%s%.1f %.1f", op, x, c.y(m))
		}
	}
	fmt.Fprintf(&area, "L%.1f %.1fZ", max(last, c.x(axisFrom)), c.y(0))
	c.Errors = area.String()
	for i := range paths {
		c.Lines = append(c.Lines, line{r.service.instances[i].name, paths[i].String()})
	}
}

// marks are the moments on the curve, those of a kind within a minute only once.
func (c chart) marks(r *run) []mark {
	var out []mark
	lastX := map[kind]float64{}
	for _, m := range r.moments() {
		x := c.x(m.at)
		if last, ok := lastX[m.Kind]; ok && x-last < 9 {
			continue
		}
		lastX[m.Kind] = x
		out = append(out, mark{X: x, Y: c.y(r.memoryAt(m.at)), Kind: m.Kind, Label: hhmm(m.at) + " " + m.Text})
	}
	return out
}

// memoryAt is the higher of the instances' curves at a story time.
func (r *run) memoryAt(t time.Time) float64 {
	best := 0.0
	for _, p := range r.curve {
		if p.at.After(t) {
			break
		}
		best = 0
		for _, m := range p.memory {
			best = max(best, m)
		}
	}
	return best
}

func (c chart) lane2024(now time.Time) lane {
	l := lane{Label: "2024", Y: c.Bottom + 36}
	if now.After(outageStart) {
		s := c.between(outageStart, earlier(now, outageEnd))
		l.Bars = append(l.Bars, bar{s.X, s.W, kindWorse, "outage, 13:00 to 14:45"})
	}
	for _, p := range whatHappened[1:] {
		l.Dots = append(l.Dots, mark{X: c.x(p.at), Label: hhmm(p.at) + " " + p.text})
	}
	return l
}

func (c chart) laneTocsin(r *run, now time.Time) lane {
	l := lane{Label: "tocsin", Y: c.Bottom + 64}
	for _, in := range r.seen.incidents {
		from, to := r.clock.story(in.TriggeredAt), now
		if !in.ResolvedAt.IsZero() {
			to = earlier(r.clock.story(in.ResolvedAt), now)
		}
		if in.Escalation == escalationEarly {
			s := c.between(from, to)
			l.Bars = append(l.Bars, bar{s.X, s.W, kindWarned, "warned"})
			continue
		}
		if !in.AcknowledgedAt.IsZero() {
			acked := earlier(r.clock.story(in.AcknowledgedAt), to)
			a, b := c.between(from, acked), c.between(acked, to)
			l.Bars = append(l.Bars, bar{a.X, a.W, kindFiring, "triggered"}, bar{b.X, b.W, kindAcked, "acknowledged"})
			continue
		}
		s := c.between(from, to)
		l.Bars = append(l.Bars, bar{s.X, s.W, kindFiring, "triggered"})
	}
	for _, m := range r.moments() {
		l.Dots = append(l.Dots, mark{X: c.x(m.at), Kind: m.Kind, Label: hhmm(m.at) + " " + m.Text})
	}
	return l
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
