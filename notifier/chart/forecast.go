package chart

import (
	"math"
	"time"
)

// Forecast is where a line leads if it goes on as it did.
type Forecast struct {
	Line  int       // which of the chart's lines
	From  Point     // on the fitted line, at the end of the data
	Reach time.Time // when it meets Level
	Level float64
}

// maxAhead is how far a forecast is worth drawing: what is further away is no matter for tonight.
const maxAhead = 7 * 24 * time.Hour

// ForecastOf fits a straight line to the last of the points, as far back as behind, and says when it reaches the
// level: nil where it never does, moves away from it, or has passed it.
func ForecastOf(points []Point, behind time.Duration, level float64) *Forecast {
	points = finite(points)
	if len(points) < 3 || math.IsNaN(level) || math.IsInf(level, 0) {
		return nil
	}
	last := points[len(points)-1].At
	for len(points) > 0 && last.Sub(points[0].At) > behind {
		points = points[1:]
	}
	if len(points) < 3 {
		return nil
	}
	var sx, sy, sxx, sxy float64
	n := float64(len(points))
	for _, p := range points {
		x := p.At.Sub(last).Seconds() // about 0, for precision
		sx, sy, sxx, sxy = sx+x, sy+p.Value, sxx+x*x, sxy+x*p.Value
	}
	det := n*sxx - sx*sx
	if det <= 0 {
		return nil
	}
	slope := (n*sxy - sx*sy) / det
	at := (sy - slope*sx) / n // on the line, at the last point
	left := (level - at) / slope
	if slope == 0 || math.IsNaN(left) || left <= 0 || left > maxAhead.Seconds() {
		return nil
	}
	return &Forecast{From: Point{last, at}, Level: level, Reach: last.Add(time.Duration(left * float64(time.Second)))}
}

func finite(points []Point) []Point {
	out := make([]Point, 0, len(points))
	for _, p := range points {
		if !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0) {
			out = append(out, p)
		}
	}
	return out
}
