package chart

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

// Unit says how numbers of an expression are written for people.
type Unit string

// The units. A rate of one is written with "/s" after it.
const (
	Plain         Unit = ""
	Ratio         Unit = "ratio"   // 0.83 is written 83 %
	Percent       Unit = "percent" // 83 is written 83 %
	Bytes         Unit = "bytes"
	BytesPerSec   Unit = "bytes/s"
	Seconds       Unit = "seconds"
	PerSecond     Unit = "/s"
	Celsius       Unit = "celsius"
	unitTimestamp Unit = "timestamp" // only inside: the difference of two is seconds
)

// suffixes are what a metric's name says of its unit, as Prometheus' naming has it.
var suffixes = []struct {
	suffix string
	unit   Unit
}{
	{"_timestamp_seconds", unitTimestamp}, {"_time_seconds", unitTimestamp}, {"_bytes", Bytes}, {"_seconds", Seconds}, {"_ratio", Ratio},
	{"_percent", Percent}, {"_percentage", Percent}, {"_celsius", Celsius},
}

func unitOfName(name string) Unit {
	for _, end := range []string{"_total", "_bucket", "_sum", "_count"} {
		if trimmed := strings.TrimSuffix(name, end); trimmed != name {
			if end == "_count" {
				return Plain
			}
			name = trimmed
			break
		}
	}
	for _, s := range suffixes {
		if strings.HasSuffix(name, s.suffix) {
			return s.unit
		}
	}
	return Plain
}

// UnitOf works out the unit of an expression from the names of its metrics and from what is done with them. What is
// not certain is Plain.
func UnitOf(e parser.Expr) Unit {
	if u := unitOf(e); u != unitTimestamp {
		return u
	}
	return Plain
}

func unitOf(e parser.Expr) Unit {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return unitOf(e.Expr)
	case *parser.UnaryExpr:
		return unitOf(e.Expr)
	case *parser.StepInvariantExpr:
		return unitOf(e.Expr)
	case *parser.SubqueryExpr:
		return unitOf(e.Expr)
	case *parser.MatrixSelector:
		return unitOf(e.VectorSelector)
	case *parser.VectorSelector:
		return unitOfName(e.Name)
	case *parser.AggregateExpr:
		if e.Op == parser.COUNT || e.Op == parser.COUNT_VALUES || e.Op == parser.GROUP || e.Op == parser.STDVAR {
			return Plain
		}
		return unitOf(e.Expr)
	case *parser.Call:
		return unitOfCall(e)
	case *parser.BinaryExpr:
		return unitOfBinary(e)
	}
	return Plain
}

func unitOfCall(c *parser.Call) Unit {
	switch c.Func.Name {
	case "time":
		return unitTimestamp
	case "timestamp":
		return unitTimestamp
	case "rate", "irate", "deriv":
		switch unitOf(c.Args[0]) {
		case Bytes:
			return BytesPerSec
		case Seconds: // of time by time: how much of it
			return Ratio
		case Plain:
			return PerSecond
		}
		return Plain
	case "count_over_time", "changes", "resets", "absent", "absent_over_time", "present_over_time", "hour", "minute", "day_of_week", "stdvar_over_time", "sgn":
		return Plain
	case "histogram_quantile", "quantile_over_time", "histogram_fraction", "label_replace", "label_join":
		if c.Func.Name == "histogram_fraction" {
			return Ratio
		}
		for _, a := range c.Args {
			if a.Type() == parser.ValueTypeVector || a.Type() == parser.ValueTypeMatrix {
				return perRate(unitOf(a))
			}
		}
		return Plain
	}
	for _, a := range c.Args {
		if t := a.Type(); t == parser.ValueTypeVector || t == parser.ValueTypeMatrix {
			return unitOf(a)
		}
	}
	return Plain
}

// perRate undoes the rate around the buckets of a quantile: its unit is that of the observations.
func perRate(u Unit) Unit {
	switch u {
	case BytesPerSec:
		return Bytes
	case Ratio:
		return Seconds
	case PerSecond:
		return Plain
	}
	return u
}

func unitOfBinary(b *parser.BinaryExpr) Unit {
	l, r := unitOf(b.LHS), unitOf(b.RHS)
	ln, lok := constant(b.LHS)
	rn, rok := constant(b.RHS)
	switch {
	case b.Op.IsSetOperator(), b.Op.IsComparisonOperator():
		if b.ReturnBool {
			return Plain
		}
		if lok {
			return r
		}
		return l
	case b.Op == parser.DIV:
		return quotient(l, r, lok, rok)
	case b.Op == parser.MUL:
		switch {
		case rok && rn == 100 && l == Ratio, lok && ln == 100 && r == Ratio:
			return Percent
		case rok && math.Abs(rn) == 1:
			return l
		}
		return Plain
	case b.Op == parser.SUB && l == unitTimestamp && r == unitTimestamp:
		return Seconds
	case b.Op == parser.ADD || b.Op == parser.SUB:
		if lok {
			return r
		}
		if rok || l == r {
			return l
		}
	}
	return Plain
}

// quotient is the unit of one thing by another.
func quotient(l, r Unit, lok, rok bool) Unit {
	switch {
	case lok || rok:
		return Plain // a constant factor: what it makes of the unit is not to be known
	case l == BytesPerSec && r == Bytes, l == PerSecond && r == Plain:
		return Plain
	case l == Bytes && r == BytesPerSec:
		return Seconds
	case l == Seconds && r == Plain:
		return Plain
	case l == r:
		return Ratio
	}
	return Plain
}

func constant(e parser.Expr) (float64, bool) {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return constant(e.Expr)
	case *parser.NumberLiteral:
		return e.Val, true
	case *parser.UnaryExpr:
		n, ok := constant(e.Expr)
		if e.Op == parser.SUB {
			n = -n
		}
		return n, ok
	}
	return 0, false
}

// Format writes a value for people: "83.1 %", "1.5 GiB", "250 ms". Four digits are kept at most.
func (u Unit) Format(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	}
	switch u {
	case Ratio:
		return digits(v*100) + " %"
	case Percent:
		return digits(v) + " %"
	case Bytes:
		return binary(v)
	case BytesPerSec:
		return binary(v) + "/s"
	case Seconds:
		return duration(v)
	case PerSecond:
		return metric(v) + "/s"
	case Celsius:
		return digits(v) + " °C"
	}
	return metric(v)
}

// digits writes three or four significant digits, without an exponent where a person would write none.
func digits(v float64) string {
	a := math.Abs(v)
	switch {
	case a == 0:
		return "0"
	case a >= 1e15 || a < 1e-4:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	places := max(0, 2-int(math.Floor(math.Log10(a))))
	s := strconv.FormatFloat(v, 'f', places, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// metric shortens what is too long to read at a glance.
func metric(v float64) string {
	a := math.Abs(v)
	for _, p := range []struct {
		from float64
		name string
	}{{1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e5, " k"}} {
		if a >= p.from && a < 1e16 {
			by := p.from
			if p.from == 1e5 {
				by = 1e3
			}
			return digits(v/by) + p.name
		}
	}
	return digits(v)
}

func binary(v float64) string {
	names := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i := 0
	for i < len(names)-1 && math.Abs(v) >= 1024 {
		v /= 1024
		i++
	}
	return digits(v) + " " + names[i]
}

func duration(v float64) string {
	a := math.Abs(v)
	switch {
	case a == 0:
		return "0 s"
	case a < 1e-3:
		return digits(v*1e6) + " µs"
	case a < 1:
		return digits(v*1e3) + " ms"
	case a < 120:
		return digits(v) + " s"
	case a > 1e9:
		return digits(v) + " s"
	}
	sign := ""
	if v < 0 {
		sign = "-"
	}
	return sign + Span(time.Duration(a*float64(time.Second)))
}

// Span writes a duration in its two largest units: "2h 5m".
func Span(d time.Duration) string {
	d = d.Abs()
	two := func(a int, x string, b int, y string) string {
		s := strconv.Itoa(a) + x
		if b > 0 {
			s += " " + strconv.Itoa(b) + y
		}
		return s
	}
	switch {
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < time.Hour:
		return two(int(d.Minutes()), "m", int(d.Seconds())%60, "s")
	case d < 48*time.Hour:
		return two(int(d.Hours()), "h", int(d.Minutes())%60, "m")
	}
	return two(int(d.Hours())/24, "d", int(d.Hours())%24, "h")
}
