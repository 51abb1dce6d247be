package difftest

import (
	"context"
	"math"
	"slices"
	"sort"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

var staleMarker = math.Float64frombits(value.StaleNaN)

// point is one sample. It implements chunks.Sample.
type point struct {
	t int64 // ms
	f float64
	h *histogram.FloatHistogram // the value, where it is not nil
}

func (p point) T() int64                      { return p.t }
func (point) ST() int64                       { return 0 }
func (p point) F() float64                    { return p.f }
func (point) H() *histogram.Histogram         { return nil }
func (p point) FH() *histogram.FloatHistogram { return p.h }
func (p point) Copy() chunks.Sample           { return p }
func (p point) before(t int64) (earlier bool) { return p.t < t }

func (p point) Type() chunkenc.ValueType {
	if p.h != nil {
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

// series is one time series, in order of time.
type series struct {
	labels labels.Labels
	points []point
}

// database is all series, in memory. It is a storage.Queryable that nothing writes to.
type database []series

func (d database) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{data: d, mint: mint, maxt: maxt}, nil
}

type querier struct {
	data       database
	mint, maxt int64
}

func (q *querier) Select(_ context.Context, sorted bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &seriesSet{next: -1}
	for _, s := range q.data {
		if slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.labels.Get(m.Name)) }) {
			continue
		}
		from := sort.Search(len(s.points), func(i int) bool { return !s.points[i].before(q.mint) })
		to := sort.Search(len(s.points), func(i int) bool { return !s.points[i].before(q.maxt + 1) })
		if from == to {
			continue
		}
		samples := make([]chunks.Sample, 0, to-from)
		for _, p := range s.points[from:to] {
			samples = append(samples, p)
		}
		set.list = append(set.list, storage.NewListSeries(s.labels, samples))
	}
	if sorted {
		slices.SortFunc(set.list, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	}
	return set
}

func (*querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (*querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (*querier) Close() error { return nil }

type seriesSet struct {
	list []storage.Series
	next int
}

func (s *seriesSet) Next() bool                      { s.next++; return s.next < len(s.list) }
func (s *seriesSet) At() storage.Series              { return s.list[s.next] }
func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }
