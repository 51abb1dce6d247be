package difftest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	promrules "github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
)

const externalURL = "http://prometheus.example/x"

var external = labels.FromStrings("cluster", "c1", "severity", "external")

// oracle is one rule group as Prometheus evaluates it.
type oracle struct {
	group *promrules.Group
	rules []promrules.Rule
}

// newOracle reads a rule file with one group. Where there was an oracle before, it takes over its state, as
// Prometheus does at a reload.
func newOracle(text string, interval time.Duration, src *source, to storage.Appendable, before *oracle) (*oracle, error) {
	promQL := parser.NewParser(parser.Options{})
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	file, errs := rulefmt.Parse([]byte(text), false, model.UTF8Validation, promQL, log)
	if len(errs) > 0 || len(file.Groups) != 1 {
		return nil, fmt.Errorf("not a rule file with one group: %v", errs)
	}
	base, err := url.Parse(externalURL)
	if err != nil {
		return nil, err
	}
	o := &oracle{}
	for _, r := range file.Groups[0].Rules {
		expr, err := promQL.ParseExpr(r.Expr)
		if err != nil {
			return nil, err
		}
		ls := promrules.FromMaps(file.Groups[0].Labels, r.Labels)
		if r.Record != "" {
			o.rules = append(o.rules, promrules.NewRecordingRule(r.Record, expr, ls))
			continue
		}
		o.rules = append(o.rules, promrules.NewAlertingRule(r.Alert, expr, time.Duration(r.For), time.Duration(r.KeepFiringFor),
			ls, labels.FromMap(r.Annotations), external, externalURL, true, log))
	}
	offset := time.Duration(0)
	if q := file.Groups[0].QueryOffset; q != nil {
		offset = time.Duration(*q)
	}
	o.group = promrules.NewGroup(promrules.GroupOptions{
		Name: file.Groups[0].Name, File: "rules.yml", Interval: interval, Limit: file.Groups[0].Limit, Rules: o.rules, QueryOffset: &offset,
		Opts: &promrules.ManagerOptions{
			ExternalURL: base, QueryFunc: src.query, Logger: log, Appendable: to,
			NotifyFunc: func(context.Context, string, ...*promrules.Alert) {},
		},
	})
	if before != nil {
		o.group.CopyState(before.group)
	}
	return o, nil
}

// nowhere takes what rules write. Nothing here reads it.
type nowhere struct{}

func (nowhere) Appender(context.Context) storage.Appender { return discard{} }

type discard struct{ storage.Appender }

func (discard) Append(storage.SeriesRef, labels.Labels, int64, float64) (storage.SeriesRef, error) {
	return 0, nil
}
func (discard) SetOptions(*storage.AppendOptions) {}
func (discard) Commit() error                     { return nil }
