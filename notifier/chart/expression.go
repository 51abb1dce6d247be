package chart

import (
	"math"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"tocsin/rules"
)

// Expression is what a picture shows of an alerting expression.
type Expression struct {
	// What the alert says: its value's unit, and the number that it is compared with.
	Value   Unit
	Bounded bool
	Bound   float64
	Above   bool // it fires above the bound
	OrEqual bool // and at it
	// What is drawn: the side that is measured, and what it must not pass: a number, or another expression.
	Shown   string
	Unit    Unit
	Limited bool
	Limit   float64
	Level   string
	High    bool // the limit is passed upwards
	// Of a rule that looks ahead. Shown is then what is, not what will be.
	Leak   bool
	Ahead  time.Duration // how far it looks; 0: until the limit is reached
	Behind time.Duration // on how much of the past it relies
}

// maxExpr bounds what is read: longer ones are charted as they are, and nothing of them is parsed again and again.
const maxExpr = 16 << 10

// Read takes an expression apart. ok is false where nothing of it can be drawn: it cannot be read, or it is one of
// those that say only that something is so (absent, a bare selector of 0 and 1).
func Read(expr string) (x Expression, ok bool) {
	if len(expr) > maxExpr {
		return Expression{}, false
	}
	e, err := reader.ParseExpr(expr)
	if err != nil {
		return Expression{}, false
	}
	e = condition(e)
	if e.Type() != parser.ValueTypeVector && e.Type() != parser.ValueTypeScalar {
		return Expression{}, false
	}
	measured := e
	if t, reason := rules.ThresholdOf(e); reason == "" {
		measured = t.Vector
		x.Bounded, x.Bound, x.Above = true, t.Value, t.Above()
		x.OrEqual = t.Op == parser.GTE || t.Op == parser.LTE
	} else if b, is := e.(*parser.BinaryExpr); is && b.Op.IsComparisonOperator() && !b.ReturnBool {
		measured = compared(b, &x)
	}
	x.Value = UnitOf(measured)
	x.Limited, x.Limit, x.High = x.Bounded, x.Bound, x.Above
	if now, limit, behind, is := exhaustion(measured); is && x.Bounded && !x.Above {
		x.Value = Seconds
		x.Leak, x.Ahead, x.Behind = true, time.Duration(min(math.Abs(x.Bound), 1e8)*float64(time.Second)), behind
		x.Limited, x.Limit, x.High, x.Level = false, 0, true, limit.String()
		if n, is := constant(limit); is {
			x.Limited, x.Limit, x.Level = true, n, ""
		}
		measured = now
	}
	measured = x.present(measured)
	if absence(measured) {
		return Expression{}, false
	}
	x.Shown, x.Unit = measured.String(), UnitOf(measured)
	return x, true
}

var reader = parser.NewParser(parser.Options{})

// condition is the comparison that a picture can show: of several that must hold together, the first.
func condition(e parser.Expr) parser.Expr {
	for {
		switch b := e.(type) {
		case *parser.ParenExpr:
			e = b.Expr
		case *parser.StepInvariantExpr:
			e = b.Expr
		case *parser.BinaryExpr:
			if !b.Op.IsSetOperator() {
				return e
			}
			e = b.LHS
		default:
			return e
		}
	}
}

// compared reads a comparison with something that is no number written there.
func compared(b *parser.BinaryExpr, x *Expression) parser.Expr {
	switch b.Op {
	case parser.GTR, parser.GTE, parser.LSS, parser.LTE:
	default: // == and != have no side
		return b.LHS
	}
	measured, level := b.LHS, b.RHS
	x.Above = b.Op == parser.GTR || b.Op == parser.GTE
	if measured.Type() == parser.ValueTypeScalar {
		measured, level, x.Above = level, measured, !x.Above
	}
	x.OrEqual = b.Op == parser.GTE || b.Op == parser.LTE
	if level.Type() == parser.ValueTypeScalar {
		x.Level = "vector(" + level.String() + ")"
	} else {
		x.Level = level.String()
	}
	return unparen(measured)
}

// exhaustion recognises (limit - x) / deriv(x[1h]): how long until x reaches the limit.
func exhaustion(e parser.Expr) (x, limit parser.Expr, behind time.Duration, ok bool) {
	b, is := unparen(e).(*parser.BinaryExpr)
	if !is || b.Op != parser.DIV {
		return nil, nil, 0, false
	}
	left, is := unparen(b.LHS).(*parser.BinaryExpr)
	if !is || left.Op != parser.SUB {
		return nil, nil, 0, false
	}
	c, is := unparen(b.RHS).(*parser.Call)
	if !is || c.Func.Name != "deriv" && c.Func.Name != "rate" {
		return nil, nil, 0, false
	}
	inner, behind := inside(c.Args[0])
	if inner == nil || inner.String() != unparen(left.RHS).String() {
		return nil, nil, 0, false
	}
	return inner, left.LHS, behind, true
}

// inside is what a range is of.
func inside(e parser.Expr) (parser.Expr, time.Duration) {
	switch m := unparen(e).(type) {
	case *parser.MatrixSelector:
		return m.VectorSelector, m.Range
	case *parser.SubqueryExpr:
		return m.Expr, m.Range
	}
	return nil, 0
}

// present replaces each predict_linear by what it looks at.
func (x *Expression) present(e parser.Expr) parser.Expr {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return &parser.ParenExpr{Expr: x.present(e.Expr)}
	case *parser.StepInvariantExpr:
		return x.present(e.Expr)
	case *parser.UnaryExpr:
		return &parser.UnaryExpr{Op: e.Op, Expr: x.present(e.Expr)}
	case *parser.AggregateExpr:
		c := *e
		c.Expr = x.present(e.Expr)
		return &c
	case *parser.BinaryExpr:
		c := *e
		c.LHS, c.RHS = x.present(e.LHS), x.present(e.RHS)
		return &c
	case *parser.Call:
		if e.Func.Name == "predict_linear" && len(e.Args) == 2 {
			if now, behind := inside(e.Args[0]); now != nil {
				x.Leak, x.Behind = true, behind
				if s, ok := scalar(e.Args[1]); ok {
					x.Ahead = time.Duration(min(math.Abs(s), 1e8) * float64(time.Second))
				}
				return now
			}
		}
		c := *e
		c.Args = make(parser.Expressions, len(e.Args))
		for i, a := range e.Args {
			c.Args[i] = x.present(a)
		}
		return &c
	}
	return e
}

// scalar folds what people write for a duration: 4 * 3600.
func scalar(e parser.Expr) (float64, bool) {
	if n, ok := constant(e); ok {
		return n, true
	}
	b, ok := unparen(e).(*parser.BinaryExpr)
	if !ok {
		return 0, false
	}
	l, lok := scalar(b.LHS)
	r, rok := scalar(b.RHS)
	switch {
	case !lok || !rok:
	case b.Op == parser.MUL:
		return l * r, true
	case b.Op == parser.ADD:
		return l + r, true
	case b.Op == parser.SUB:
		return l - r, true
	case b.Op == parser.DIV && r != 0:
		return l / r, true
	}
	return 0, false
}

// absence reports an expression whose value is the same whenever there is one.
func absence(e parser.Expr) bool {
	switch e := unparen(e).(type) {
	case *parser.Call:
		return strings.HasPrefix(e.Func.Name, "absent") || e.Func.Name == "vector"
	case *parser.NumberLiteral, *parser.StringLiteral:
		return true
	}
	return false
}

func unparen(e parser.Expr) parser.Expr {
	for {
		switch p := e.(type) {
		case *parser.ParenExpr:
			e = p.Expr
		case *parser.StepInvariantExpr:
			e = p.Expr
		default:
			return e
		}
	}
}

// Threshold is when it fires, in words: "above 80 %"; "" where that is no number.
func (x Expression) Threshold() string {
	if !x.Bounded {
		return ""
	}
	s := "below "
	if x.Above {
		s = "above "
	}
	if x.OrEqual {
		s = "at or " + s
	}
	return s + x.Value.Format(x.Bound)
}
