package demo

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sort"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// sample is one series' value as a scrape of the session service would find it.
type sample struct {
	labels labels.Labels
	value  float64
}

// scrape returns every series of the service at its present moment. Memory is absent while an instance
// is down: a process that is gone reports nothing.
func scrape(s *service) []sample {
	var out []sample
	add := func(v float64, kv ...string) { out = append(out, sample{labels.FromStrings(kv...), v}) }
	for i := range s.instances {
		in := &s.instances[i]
		up, memory := 1.0, math.Round(in.ratio(s.now)*memoryLimit)
		if !in.up(s.now) {
			up, memory = 0, math.Float64frombits(value.StaleNaN)
		}
		add(memory, "__name__", "session_memory_bytes", "instance", in.name, "job", "session")
		add(memoryLimit, "__name__", "session_memory_limit_bytes", "instance", in.name, "job", "session")
		add(up, "__name__", "session_service_up", "instance", in.name, "job", "session")
		add(float64(in.restarts), "__name__", "session_restarts_total", "instance", in.name, "job", "session")
	}
	for _, code := range []string{"200", "500"} {
		add(math.Floor(s.requests[code]), "__name__", "shop_checkout_requests_total", "code", code, "job", "shop")
	}
	add(s.databaseLatency(), "__name__", "db_query_duration_seconds", "instance", "db-1", "job", "database", "quantile", "0.95")
	add(float64(s.now.Unix()), "__name__", "demo_story_time_seconds", "job", "demo")
	return out
}

// metrics is an embedded Prometheus without its server: a real TSDB and a real engine.
type metrics struct {
	db     *tsdb.DB
	engine *promql.Engine
	parser parser.Parser
}

// openMetrics opens an empty TSDB in dir. speed shortens what the engine counts as "recent" like every
// other duration.
func openMetrics(dir string, speed float64, logger *slog.Logger) (*metrics, error) {
	opts := tsdb.DefaultOptions()
	opts.WALSegmentSize = -1 // the directory lives no longer than the process
	db, err := tsdb.Open(dir, logger, nil, opts, nil)
	if err != nil {
		return nil, fmt.Errorf("open the demo's TSDB: %w", err)
	}
	p := parser.NewParser(parser.Options{})
	engine := promql.NewEngine(promql.EngineOpts{
		Logger:               logger,
		MaxSamples:           5_000_000,
		Timeout:              10 * time.Second,
		LookbackDelta:        max(shrink(5*time.Minute, speed), 2*time.Second),
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		Parser:               p,
		NoStepSubqueryIntervalFn: func(int64) int64 {
			return max(shrink(time.Minute, speed), time.Second).Milliseconds()
		},
	})
	return &metrics{db: db, engine: engine, parser: p}, nil
}

func (m *metrics) close() error {
	engineErr := m.engine.Close()
	if err := m.db.Close(); err != nil {
		return err
	}
	return engineErr
}

// append writes one scrape at the real time ts, whole or not at all.
func (m *metrics) append(ctx context.Context, ts time.Time, samples []sample) error {
	app := m.db.AppenderV2(ctx)
	for _, s := range samples {
		if _, err := app.Append(0, s.labels, 0, ts.UnixMilli(), s.value, nil, nil, storage.AppendV2Options{}); err != nil {
			if rerr := app.Rollback(); rerr != nil {
				return fmt.Errorf("append %s: %w (and undoing it: %w)", s.labels, err, rerr)
			}
			return fmt.Errorf("append %s: %w", s.labels, err)
		}
	}
	return app.Commit()
}

// labelNames returns the names of all labels, for those who browse.
func (m *metrics) labelNames(ctx context.Context) ([]string, error) {
	q, err := m.db.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	defer q.Close() //nolint:errcheck // a read-only querier has nothing to lose
	names, _, err := q.LabelNames(ctx, nil)
	sort.Strings(names)
	return names, err
}
