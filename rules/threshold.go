package rules

import (
	"fmt"
	"math"

	"github.com/prometheus/prometheus/promql/parser"
)

// Threshold is an expression of the form <vector> <cmp> <number>: a series breaches while its value compares
// so with the number.
type Threshold struct {
	Vector parser.Expr     // without parentheses around it; part of the expression that was split
	Op     parser.ItemType // parser.GTR, GTE, LSS or LTE, as if the vector stood on the left
	Value  float64         // never NaN
}

// ThresholdOf takes an expression apart at its threshold. Where it has none, reason says why not, as a clause for a
// person: "it compares nothing". The value of a series that the comparison lets pass is that of the vector.
//
// The comparison must be the root. In x > 1 < 9 that is the last one, and the vector is x > 1. The number may
// stand on either side, and may be an arithmetic of numbers.
func ThresholdOf(expr parser.Expr) (t Threshold, reason string) {
	b, ok := unwrap(expr).(*parser.BinaryExpr)
	switch {
	case !ok:
		return t, "it does not compare anything at its top level"
	case b.Op.IsSetOperator():
		return t, fmt.Sprintf("its top level is %q, not a comparison", b.Op)
	case !b.Op.IsComparisonOperator():
		return t, fmt.Sprintf("its top level is an arithmetic (%s), not a comparison", b.Op)
	case b.ReturnBool:
		return t, "with bool every series passes, as 0 or 1"
	case b.Op == parser.EQLC || b.Op == parser.NEQ:
		return t, fmt.Sprintf("it asks for one value (%s), not for a side of a threshold", b.Op)
	}
	vector, number, op := b.LHS, b.RHS, b.Op
	if vector.Type() == parser.ValueTypeScalar {
		vector, number, op = number, vector, mirror(op)
	}
	value, constant := fold(number)
	switch {
	case number.Type() == parser.ValueTypeVector:
		return t, "it compares two vectors"
	case !constant:
		return t, fmt.Sprintf("it compares with %s, not with a number that is written there", number)
	case math.IsNaN(value):
		return t, "nothing compares with NaN"
	}
	return Threshold{Vector: unwrap(vector), Op: op, Value: value}, ""
}

// Breaches reports whether a series of this value passes the comparison. NaN never does.
func (t Threshold) Breaches(value float64) bool {
	switch t.Op {
	case parser.GTR:
		return value > t.Value
	case parser.GTE:
		return value >= t.Value
	case parser.LSS:
		return value < t.Value
	case parser.LTE:
		return value <= t.Value
	}
	return false
}

// Above reports whether a series breaches by being high.
func (t Threshold) Above() bool { return t.Op == parser.GTR || t.Op == parser.GTE }

// Recovers reports whether a number can be the recover of a rule with this threshold: it is on the other
// side, so that what has recovered does not breach.
func (t Threshold) Recovers(value float64) bool {
	if t.Above() {
		return value < t.Value
	}
	return value > t.Value
}

// Disappears says why a series that is missing from the answer to a vector may still be there: the expression
// itself drops series, by their value or beside others. It is "" where a series is missing only when nothing
// is known of it. The reason is a clause, such as: "up == 0 drops series by their value".
func Disappears(vector parser.Expr) (reason string) {
	parser.Inspect(vector, func(node parser.Node, path []parser.Node) error {
		if reason == "" && !within(path, "scalar") {
			reason = drops(node)
		}
		return nil
	})
	return reason
}

// drops says why one node of an expression may drop series.
func drops(node parser.Node) string {
	switch n := node.(type) {
	case *parser.BinaryExpr:
		switch {
		case n.Op.IsComparisonOperator() && !n.ReturnBool:
			return fmt.Sprintf("%s drops series by their value", n)
		case n.Op == parser.LAND, n.Op == parser.LUNLESS:
			return fmt.Sprintf("%q drops series beside others", n.Op)
		}
	case *parser.AggregateExpr:
		switch n.Op {
		case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
			return fmt.Sprintf("%s drops series beside others", n.Op)
		case parser.COUNT_VALUES:
			return "count_values drops the labels of values that no series has"
		}
	case *parser.Call:
		if n.Func.Name == "absent" || n.Func.Name == "absent_over_time" {
			return n.Func.Name + " yields nothing while there is a series"
		}
	}
	return ""
}

// within reports whether one of the nodes is a call of a function. What scalar() finds empty becomes NaN.
func within(path []parser.Node, function string) bool {
	for _, node := range path {
		if c, ok := node.(*parser.Call); ok && c.Func.Name == function {
			return true
		}
	}
	return false
}

// unwrap removes parentheses around an expression.
func unwrap(e parser.Expr) parser.Expr {
	for {
		p, ok := e.(*parser.ParenExpr)
		if !ok {
			return e
		}
		e = p.Expr
	}
}

// mirror turns a comparison around, as its sides change places.
func mirror(op parser.ItemType) parser.ItemType {
	switch op {
	case parser.GTR:
		return parser.LSS
	case parser.GTE:
		return parser.LTE
	case parser.LSS:
		return parser.GTR
	case parser.LTE:
		return parser.GTE
	}
	return op
}

// fold computes an arithmetic of numbers as PromQL does. Anything else is not constant: time() and scalar()
// change from one evaluation to the next.
func fold(e parser.Expr) (value float64, constant bool) {
	switch n := unwrap(e).(type) {
	case *parser.NumberLiteral:
		return n.Val, true
	case *parser.UnaryExpr:
		value, constant = fold(n.Expr)
		if n.Op == parser.SUB {
			value = -value
		}
		return value, constant
	case *parser.BinaryExpr:
		l, lok := fold(n.LHS)
		r, rok := fold(n.RHS)
		if !lok || !rok {
			return 0, false
		}
		return arithmetic(n.Op, l, r)
	}
	return 0, false
}

func arithmetic(op parser.ItemType, l, r float64) (value float64, known bool) {
	switch op {
	case parser.ADD:
		return l + r, true
	case parser.SUB:
		return l - r, true
	case parser.MUL:
		return l * r, true
	case parser.DIV:
		return l / r, true
	case parser.POW:
		return math.Pow(l, r), true
	case parser.MOD:
		return math.Mod(l, r), true
	case parser.ATAN2:
		return math.Atan2(l, r), true
	}
	return 0, false
}
