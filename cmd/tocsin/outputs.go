package main

import (
	"context"

	"github.com/prometheus/common/version"
	"golang.org/x/sync/errgroup"

	"tocsin/config"
	"tocsin/evaluator"
	"tocsin/evaluator/alertmanagers"
	"tocsin/evaluator/remotewrite"
	"tocsin/oncall"
)

// outputs are where the evaluator writes series and sends alerts on, beside tocsin's own incidents. They
// live as long as the process: what waits to be sent outlives a reload.
type outputs struct {
	writer    *remotewrite.Writer
	forwarder *alertmanagers.Forwarder
}

// openOutputs makes the outputs, which lead nowhere until a generation is enacted.
func (d *daemon) openOutputs() (err error) {
	d.outputs.writer, err = remotewrite.New(remotewrite.Config{}, remotewrite.Options{Queue: d.store,
		Logger: d.log.With("component", "remote_write"), Registerer: d.registry})
	if err != nil {
		return err
	}
	d.outputs.forwarder, err = alertmanagers.New(nil, alertmanagers.Options{
		Active:   func() []evaluator.Forwarded { return d.evaluator.Active() }, // it is made later
		Resolved: d.store.ResolvedSince, Version: version.Version,
		Logger: d.log.With("component", "alertmanagers"), Registerer: d.registry})
	return err
}

// checkOutputs tries what redirect will do, so that a reload fails before anything live is touched.
func checkOutputs(plan *config.Plan) error {
	if plan.RemoteWrite != nil {
		w, err := remotewrite.New(*plan.RemoteWrite, remotewrite.Options{})
		if err != nil {
			return err
		}
		w.Close()
	}
	_, err := alertmanagers.New(plan.Alertmanagers, alertmanagers.Options{})
	return err
}

// redirect points the outputs to where a plan says. What is not configured is not even computed.
func (d *daemon) redirect(plan *config.Plan) {
	var recorder evaluator.Recorder
	var to remotewrite.Config
	if plan.RemoteWrite != nil {
		recorder, to = d.outputs.writer, *plan.RemoteWrite
	}
	if err := d.outputs.writer.Apply(to, plan.ExternalLabels); err != nil {
		d.log.Error("The new remote_write cannot be used; series are written where they were", "err", err)
	}
	var forwarder evaluator.Forwarder
	if len(plan.Alertmanagers) > 0 {
		forwarder = d.outputs.forwarder
	}
	if err := d.outputs.forwarder.Apply(plan.Alertmanagers, plan.ExternalLabels); err != nil {
		d.log.Error("The new alertmanagers cannot be used; alerts are sent on to those of before", "err", err)
	}
	d.evaluator.Outputs(recorder, forwarder)
}

// send runs the outputs while the lease is ours: a standby writes nothing.
func (o *outputs) send(ctx context.Context, lease oncall.Lease) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return o.writer.Run(ctx, lease) })
	g.Go(func() error { return o.forwarder.Run(ctx) })
	return g.Wait()
}

func (o *outputs) close() { o.writer.Close() }
