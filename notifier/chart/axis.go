package chart

import (
	"math"
	"time"
)

// tick is a place on an axis with its label.
type tick struct {
	at    float64 // as the axis counts: a value, or unix seconds
	label string
}

// valueTicks divides the span between low and high at round numbers of the unit, in about n parts.
func valueTicks(u Unit, low, high float64, n int) []tick {
	by := 1.0
	base := 10.0
	switch u {
	case Ratio:
		by = 0.01
	case Bytes, BytesPerSec:
		for by < 1<<60 && by*1024 <= math.Max(math.Abs(low), math.Abs(high)) {
			by *= 1024
		}
	case Seconds:
		switch m := math.Max(math.Abs(low), math.Abs(high)); {
		case m >= 4*86400:
			by = 86400
		case m >= 4*3600:
			by = 3600
		case m >= 240:
			by = 60
		}
	}
	step := nice((high-low)/by/float64(n), base) * by
	if !(step > 0) || math.IsInf(step, 0) {
		return nil
	}
	var out []tick
	for v := math.Ceil(low/step-1e-9) * step; v <= high+step*1e-9 && len(out) < 20; v += step {
		if math.Abs(v) < step*1e-6 {
			v = 0
		}
		out = append(out, tick{v, u.Format(v)})
	}
	return out
}

// nice is the next of 1, 2, 5 times a power of the base.
func nice(v, base float64) float64 {
	if !(v > 0) {
		return 0
	}
	p := math.Pow(base, math.Floor(math.Log(v)/math.Log(base)))
	for _, m := range []float64{1, 2, 5} {
		if m*p >= v*0.999 {
			return m * p
		}
	}
	return base * p
}

var timeSteps = []time.Duration{
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour,
	6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour,
}

// timeTicks divides a span of time at round hours of UTC, in at most n parts.
func timeTicks(from, to time.Time, n int) []time.Time {
	span := to.Sub(from)
	step := timeSteps[len(timeSteps)-1]
	for _, s := range timeSteps {
		if span <= s*time.Duration(n) {
			step = s
			break
		}
	}
	var out []time.Time
	for t := from.Truncate(step); !t.After(to) && len(out) < 20; t = t.Add(step) {
		if !t.Before(from) {
			out = append(out, t)
		}
	}
	return out
}

// clockLabel is how a tick is written: with the day where the axis spans more than one.
func clockLabel(t time.Time, span time.Duration) string {
	if span > 36*time.Hour {
		return t.Format("2 Jan")
	}
	return t.Format("15:04")
}

// bounds are the lowest and the highest value that the picture must hold.
func (ch *Chart) bounds() (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	take := func(v float64) {
		if math.Abs(v) < 1e300 { // no NaN, no infinity, and nothing whose sums are one
			low, high = min(low, v), max(high, v)
		}
	}
	for _, l := range ch.Lines {
		if l.Faint {
			continue
		}
		for _, p := range l.Points {
			take(p.Value)
		}
	}
	for _, l := range ch.Levels {
		for _, p := range l.Points {
			take(p.Value)
		}
	}
	if ch.Limited {
		take(ch.Limit)
	}
	if ch.Forecast != nil {
		take(ch.Forecast.Level)
	}
	if low > high { // nothing but faint lines, or nothing at all
		for _, l := range ch.Lines {
			for _, p := range l.Points {
				take(p.Value)
			}
		}
	}
	if low > high {
		return 0, 1
	}
	if low >= 0 && low < 0.6*high {
		low = 0
	}
	if span := high - low; span > 0 {
		high += span * 0.08
		if low != 0 {
			low -= span * 0.05
		}
		return low, high
	}
	if low == 0 {
		return 0, 1
	}
	return low - math.Abs(low)*0.1, high + math.Abs(high)*0.1
}
