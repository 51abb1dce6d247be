package main

import (
	"context"

	"tocsin/config"
	"tocsin/evaluator"
	"tocsin/evaluator/remotewrite"
	"tocsin/oncall"
)

// outputs are where the evaluator writes series and sends alerts on, beside tocsin's own incidents. They
// live as long as the process: what waits to be sent outlives a reload.
type outputs struct {
	writer *remotewrite.Writer
}

// openOutputs makes the outputs, which lead nowhere until a generation is enacted.
func (d *daemon) openOutputs() (err error) {
	d.outputs.writer, err = remotewrite.New(remotewrite.Config{}, remotewrite.Options{Queue: d.store,
		Logger: d.log.With("component", "remote_write"), Registerer: d.registry})
	return err
}

// checkOutputs tries what redirect will do, so that a reload fails before anything live is touched.
func checkOutputs(plan *config.Plan) error {
	if plan.RemoteWrite == nil {
		return nil
	}
	w, err := remotewrite.New(*plan.RemoteWrite, remotewrite.Options{})
	if err != nil {
		return err
	}
	w.Close()
	return nil
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
	d.evaluator.Outputs(recorder, nil)
}

// send runs the outputs while the lease is ours.
func (o *outputs) send(ctx context.Context, lease oncall.Lease) error {
	return o.writer.Run(ctx, lease)
}

func (o *outputs) close() { o.writer.Close() }
