package evaluator

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
)

// Backend answers queries; the package evaluator/prometheus has one. Query is called from many goroutines
// and honours ctx. Its errors are *QueryError where it knows whose fault it is.
type Backend interface {
	// Query evaluates expr at the instant at.
	Query(ctx context.Context, expr string, at time.Time) (Answer, error)
}

// Reuser is a Backend that answers repeated queries of one expression for less. Its answers are those of
// Query; only who owns their memory differs.
type Reuser interface {
	Backend
	// QueryInto is Query with what is kept between the queries of one expression. The answer's Samples are
	// valid until r is used again; its label sets are for keeps. r may be nil.
	QueryInto(ctx context.Context, expr string, at time.Time, r *Reuse) (Answer, error)
}

// Reuse is what one expression keeps between its queries: the series that it returned last, so that a label
// set is stored once however often it is answered. Its zero value is ready. One goroutine uses it at a time;
// where that cannot be promised, such as for an extra evaluation beside the grid's, use nil or another one.
type Reuse struct {
	// Samples are those of the last complete answer, in its order. Only the Backend touches them.
	Samples []Sample
}

// queryInto asks b, by QueryInto where it can.
func queryInto(ctx context.Context, b Backend, expr string, at time.Time, r *Reuse) (Answer, error) {
	if reuser, ok := b.(Reuser); ok {
		return reuser.QueryInto(ctx, expr, at, r)
	}
	return b.Query(ctx, expr, at)
}

// Answer is an instant vector, or a scalar as one sample without labels.
type Answer struct {
	Samples []Sample
	// Partial says why series may be missing (a warning, isPartial); "" if the answer is complete.
	Partial string
}

// Sample is one series' value.
type Sample struct {
	Metric labels.Labels // as answered, with the metric name
	Value  float64
	// Histogram is the value where it is a native histogram; Value is 0 then. Do not write to it.
	Histogram *histogram.FloatHistogram
}

// ErrorKind says whose fault a failed query is.
type ErrorKind string

// The kinds.
const (
	RuleError    ErrorKind = "rule"    // this expression cannot be evaluated, others can
	BackendError ErrorKind = "backend" // the backend is down, slow, or talks nonsense
)

// QueryError is a failed query. Message is one short line for the person who must act, without credentials.
type QueryError struct {
	Kind    ErrorKind
	Message string
	Cause   error // may be nil; not shown
}

func (e *QueryError) Error() string { return e.Message }

func (e *QueryError) Unwrap() error { return e.Cause }

// kindOf classifies any error of a Backend.
func kindOf(err error) ErrorKind {
	if q, ok := errors.AsType[*QueryError](err); ok {
		return q.Kind
	}
	return BackendError
}
