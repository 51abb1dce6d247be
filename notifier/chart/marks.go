package chart

import (
	"fmt"
	"time"
)

// place puts the moments' labels into as few rows as they need, and returns how many.
func (p *picture) place() (rows int) {
	for _, m := range []marker{
		{at: p.Pending, label: "pending", ink: amber, align: 1}, {at: p.Firing, label: "firing", ink: red}, {at: p.Resolved, label: "resolved", ink: green},
	} {
		if m.at.IsZero() || m.at.Before(p.From) || m.at.After(p.end) {
			continue
		}
		t := m.at.UTC()
		if p.Zone != nil { // the axis has two rows of hours: say which is meant
			t = t.In(p.Zone)
			m.label += t.Format(" 15:04 MST")
		} else {
			m.label += t.Format(" 15:04")
		}
		p.marks = append(p.marks, m)
	}
	scratch := newCanvas(1, 1)
	defer scratch.close()
	var ends []float64 // of each row
	for i := range p.marks {
		m := &p.marks[i]
		w, x := scratch.width(boldFont, m.label)+12, p.x(m.at)
		from := x - 4
		switch { // a pending alert is marked towards the past, what follows towards the future, where there is room
		case m.align == 0 && from+w > p.right+2:
			m.align = 1
		case m.align == 1 && x-w < margin:
			m.align = 0
		}
		if m.align == 1 {
			from = x - w
		}
		m.row = -1
		for r, end := range ends {
			if end <= from {
				m.row = r
				break
			}
		}
		if m.row < 0 {
			m.row = len(ends)
			ends = append(ends, 0)
		}
		ends[m.row] = from + w + 4
	}
	// The last row is the nearest to the plot; an earlier label may stand above a later one.
	return len(ends)
}

func (p *picture) moments() {
	for _, m := range p.marks {
		x, y := p.x(m.at), p.top-markRow*float64(m.row)-4
		p.c.stroke([]spot{{x, y - 4}, {x, p.bottom}}, 1.1, 0, m.ink)
		p.c.fill(m.ink, spot{x - 3.5, p.bottom}, spot{x + 3.5, p.bottom}, spot{x, p.bottom - 6})
		at := x + 4
		if m.align > 0 {
			at = x - 4
		}
		p.c.text(boldFont, at, y, m.align, m.ink, m.label)
	}
}

type legendRow struct {
	ink  int // index of the line; -1: none
	text string
	last string
}

// legendRows name the lines, each with its last value, and count what has no name.
func (p *picture) legendRows() []legendRow {
	var rows []legendRow
	rest, named := p.More, 0
	for i, l := range p.Lines {
		if l.Faint || named == maxNamed {
			rest++
			continue
		}
		named++
		r := legendRow{ink: i, text: l.Name}
		if v, ok := last(l.Points); ok {
			r.last = p.Unit.Format(v.Value)
			if p.To.Sub(v.At) > max(5*p.Step, 5*time.Minute) {
				r.last += ", ended " + v.At.UTC().Format("15:04 UTC")
			}
		}
		rows = append(rows, r)
	}
	if rest > 0 {
		word := "more series"
		if rest == 1 && named == 0 {
			word = "series"
		}
		rows = append(rows, legendRow{ink: -1, text: fmt.Sprintf("%d %s", rest, word)})
	}
	return rows
}

func (p *picture) legend() {
	y := p.bottom + 18 + 11
	if p.Zone != nil {
		y += rowHeight
	}
	for _, r := range p.legendRows() {
		if r.ink < 0 {
			p.c.rect(margin, y-5, margin+14, y-3.6, faint)
			p.c.text(plainFont, margin+20, y, 0, grey, r.text)
		} else {
			p.c.rect(margin, y-5.6, margin+14, y-2.6, p.inkOf(r.ink))
			w := p.c.width(boldFont, r.last)
			p.c.text(plainFont, margin+20, y, 0, black, p.c.fit(plainFont, r.text, width-2*margin-28-w))
			p.c.text(boldFont, width-margin, y, 1, black, r.last)
		}
		y += rowHeight
	}
}

func last(points []Point) (Point, bool) {
	points = finite(points)
	if len(points) == 0 {
		return Point{}, false
	}
	return points[len(points)-1], true
}
