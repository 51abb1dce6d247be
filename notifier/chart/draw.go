package chart

import (
	"bytes"
	"fmt"
	"image/color"
	"image/png"
	"math"
	"time"
)

// The sizes, in units; a unit is scale pixels.
const (
	width      = 400.0
	plotHeight = 150.0
	margin     = 10.0
	rowHeight  = 15.0
	markRow    = 13.0
	maxNamed   = 8
)

var (
	titleFont = style{true, 14.5}
	plainFont = style{false, 11.5}
	boldFont  = style{true, 11.5}
	smallFont = style{false, 10.5}
)

// picture is a chart on its canvas, with where everything is.
type picture struct {
	*Chart
	c                        *canvas
	left, right, top, bottom float64 // of the plot
	low, high                float64
	end                      time.Time // of the time axis
	marks                    []marker
}

// marker is a moment: a line down the plot with a word above it.
type marker struct {
	at    time.Time
	label string
	ink   color.RGBA
	row   int
	align float64
}

// PNG draws the chart.
func (ch *Chart) PNG() ([]byte, error) {
	p := ch.layout()
	defer p.c.close()
	p.heading()
	p.grid()
	p.limits()
	p.lines()
	p.forecast()
	p.moments()
	p.legend()
	var out bytes.Buffer
	if err := png.Encode(&out, paletted(p.c.img)); err != nil {
		return nil, fmt.Errorf("the chart cannot be encoded: %w", err)
	}
	return out.Bytes(), nil
}

// layout decides where everything goes.
func (ch *Chart) layout() *picture {
	p := &picture{Chart: ch, end: ch.To, right: width - margin}
	if f := ch.Forecast; f != nil {
		span := ch.To.Sub(ch.From)
		p.end = f.Reach.Add(span / 12)
		if most := ch.To.Add(span); p.end.After(most) {
			p.end = most
		}
		if p.end.Before(ch.To) {
			p.end = ch.To
		}
	}
	p.low, p.high = ch.bounds()
	scratch := newCanvas(1, 1) // only to measure
	widest := 0.0
	for _, t := range valueTicks(ch.Unit, p.low, p.high, 5) {
		widest = max(widest, scratch.width(smallFont, t.label))
	}
	scratch.close()
	p.left = margin + widest + 5
	rows := p.place()
	p.top = 46 + float64(rows)*markRow
	p.bottom = p.top + plotHeight
	h := p.bottom + 18 + float64(len(p.legendRows()))*rowHeight + 6
	if ch.Zone != nil {
		h += rowHeight
	}
	p.c = newCanvas(width, h)
	return p
}

func (p *picture) x(t time.Time) float64 {
	span := p.end.Sub(p.From).Seconds()
	if span <= 0 {
		return p.left
	}
	return p.left + t.Sub(p.From).Seconds()/span*(p.right-p.left)
}

func (p *picture) y(v float64) float64 {
	s := (v - p.low) / (p.high - p.low)
	return p.bottom - min(max(s, -0.02), 1)*(p.bottom-p.top)
}

func (p *picture) heading() {
	p.c.text(titleFont, margin, 20, 0, black, p.c.fit(titleFont, p.Title, width-2*margin))
	sub := p.limitWords()
	if f := p.Forecast; f != nil {
		if sub != "" {
			sub += " · "
		}
		p.c.text(plainFont, margin, 37, 0, red, p.c.fit(plainFont, sub, width/2))
		x := margin + p.c.width(plainFont, p.c.fit(plainFont, sub, width/2))
		p.c.text(boldFont, x, 37, 0, black, p.c.fit(boldFont, p.reaches(), width-margin-x))
		return
	}
	p.c.text(plainFont, margin, 37, 0, red, p.c.fit(plainFont, sub, width-2*margin))
}

// limitWords names the threshold, as the dashed line shows it.
func (ch *Chart) limitWords() string {
	switch {
	case ch.Limited && ch.Forecast != nil:
		return "limit " + ch.Unit.Format(ch.Limit)
	case ch.Limited && ch.Above:
		return "fires above " + ch.Unit.Format(ch.Limit)
	case ch.Limited:
		return "fires below " + ch.Unit.Format(ch.Limit)
	case len(ch.Levels) > 0:
		if v, ok := last(ch.Levels[0].Points); ok {
			return "limit " + ch.Unit.Format(v.Value)
		}
	}
	return ""
}

// reaches is the forecast in words.
func (ch *Chart) reaches() string {
	f := ch.Forecast
	return "reaches " + ch.Unit.Format(f.Level) + " " + ch.moment(f.Reach, ch.Zone)
}

// moment is an instant for people, with the day where it is not the chart's own. zone may be nil.
func (ch *Chart) moment(t time.Time, in *time.Location) string {
	t = t.UTC()
	zone := "UTC"
	if in != nil {
		t = t.In(in)
		zone, _ = t.Zone()
	}
	if t.Sub(ch.To).Abs() > 20*time.Hour {
		return "on " + t.Format("2 Jan 15:04 ") + zone
	}
	return "at " + t.Format("15:04 ") + zone
}

func (p *picture) grid() {
	for _, t := range valueTicks(p.Unit, p.low, p.high, 5) {
		y := p.y(t.at)
		p.c.rect(p.left, y-0.4, p.right, y+0.4, pale)
		p.c.text(smallFont, p.left-5, y+3.6, 1, grey, t.label)
	}
	span := p.end.Sub(p.From)
	y := p.bottom + 14
	most := 5
	ticks := timeTicks(p.From, p.end, most)
	zones := []*time.Location{time.UTC}
	if p.Zone != nil {
		zones = append(zones, p.Zone)
	}
	for row, zone := range zones {
		name, _ := p.To.In(zone).Zone()
		w := p.c.width(smallFont, name)
		p.c.text(smallFont, margin, y, 0, grey, name)
		for _, t := range ticks {
			x := p.x(t)
			label := clockLabel(t.In(zone), span)
			half := p.c.width(smallFont, label) / 2
			if row == 0 {
				p.c.rect(x-0.4, p.top, x+0.4, p.bottom, pale)
			}
			if x-half < margin+w+4 || x+half > width-2 {
				continue
			}
			p.c.text(smallFont, x, y, 0.5, grey, label)
		}
		y += rowHeight
	}
	p.c.rect(p.left, p.bottom-0.5, p.right, p.bottom+0.5, grey)
}

func (p *picture) limits() {
	if p.Limited {
		y := p.y(p.Limit)
		if p.Above {
			p.c.rect(p.left, p.top, p.right, y, blush)
		} else {
			p.c.rect(p.left, y, p.right, p.bottom, blush)
		}
		p.c.stroke([]spot{{p.left, y}, {p.right, y}}, 1.3, 5, red)
	}
	for _, l := range p.Levels {
		for _, part := range p.parts(l.Points) {
			p.c.stroke(part, 1.3, 5, red)
		}
	}
}

// parts are a line's spots, interrupted where samples are missing.
func (p *picture) parts(points []Point) [][]spot {
	var out [][]spot
	var cur []spot
	gap := max(p.Step*5/2, time.Second)
	var before time.Time
	for _, q := range points {
		if math.IsNaN(q.Value) || math.IsInf(q.Value, 0) || q.At.Before(p.From) || q.At.After(p.end) {
			continue
		}
		if len(cur) > 0 && q.At.Sub(before) > gap {
			out, cur = append(out, cur), nil
		}
		cur = append(cur, spot{p.x(q.At), p.y(q.Value)})
		before = q.At
	}
	if len(cur) > 0 {
		out = append(out, cur)
	}
	return out
}

func (p *picture) lines() {
	for _, l := range p.Lines {
		if l.Faint {
			for _, part := range p.parts(l.Points) {
				p.c.stroke(part, 1, 0, faint)
			}
		}
	}
	// The first line is that of the first alert: it lies on top.
	for i := len(p.Lines) - 1; i >= 0; i-- {
		if l := p.Lines[i]; !l.Faint {
			for _, part := range p.parts(l.Points) {
				p.c.stroke(part, 2.2, 0, p.inkOf(i))
			}
		}
	}
}

func (p *picture) inkOf(i int) color.RGBA { return lineOf[i%len(lineOf)] }

func (p *picture) forecast() {
	f := p.Forecast
	if f == nil {
		return
	}
	to, v := f.Reach, f.Level
	if to.After(p.end) { // it leaves the picture on the way
		share := p.end.Sub(f.From.At).Seconds() / to.Sub(f.From.At).Seconds()
		to, v = p.end, f.From.Value+share*(v-f.From.Value)
	}
	ink := p.inkOf(f.Line)
	x, y := p.x(to), p.y(v)
	p.c.stroke([]spot{{p.x(f.From.At), p.y(f.From.Value)}, {x, y}}, 1.8, 4, ink)
	if to.Equal(f.Reach) {
		p.c.fill(white, ringOf(spot{x, y}, 4.2)...)
		p.c.stroke(append(ringOf(spot{x, y}, 3.6), spot{x + 3.6, y}), 1.6, 0, ink)
	}
}

func ringOf(p spot, r float64) []spot {
	out := make([]spot, 20)
	for i := range out {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / float64(len(out)))
		out[i] = spot{p.x + r*cos, p.y + r*sin}
	}
	return out
}
