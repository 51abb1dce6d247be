// Package chart draws what an alert was decided on: the series of its expression over the last hours, the threshold,
// when it was pending, fired and resolved, and where a leak leads. It is pure: data in, a PNG and the same in words
// out. It asks nobody for data and knows nothing of Slack.
//
// Start reading at Read (what an expression shows) and Chart.PNG (draw.go).
package chart

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Point is one sample.
type Point struct {
	At    time.Time
	Value float64 // NaN and the infinities are gaps
}

// Series is what a backend answered for one label set, oldest point first.
type Series struct {
	Labels labels.Labels
	Points []Point
}

// Line is a series as it is drawn. Only the first of a chart's lines are told apart by colour and named.
type Line struct {
	Name   string
	Points []Point // oldest first
	Faint  bool    // of no alert: drawn in grey, without a name
}

// Chart is everything that one picture shows. The zero value of an instant, of Zone and of Forecast means that there
// is none.
type Chart struct {
	Title    string
	Unit     Unit
	From, To time.Time // of the data; with a forecast the axis goes on beyond To
	Step     time.Duration
	Zone     *time.Location // beside UTC
	Lines    []Line         // those of alerts first
	More     int            // series that are not drawn
	// Limit is the threshold: a number, or where Levels is set what was compared with, over time.
	Limit    float64
	Limited  bool
	Above    bool // it fires above the limit
	Levels   []Line
	Pending  time.Time
	Firing   time.Time
	Resolved time.Time
	Forecast *Forecast
}
