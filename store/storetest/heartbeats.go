package storetest

import (
	"testing"
	"time"

	"tocsin/oncall"
)

// testHeartbeats: beats are kept, the latest counts whatever their order, and what follows is committed with its
// alert, under the lease.
func testHeartbeats(t *testing.T, e *env) {
	at := func(d time.Duration) oncall.Write { return oncall.Write{Now: start.Add(d), Urgent: true} }
	e.must(e.s.Beat(e.ctx(), at(time.Minute), "backup"))
	e.must(e.s.Beat(e.ctx(), at(0), "backup"))
	c := change(oncall.ChangeFiring, "x", "HeartbeatMissed", "missed")
	decide := func(all []oncall.HeartbeatState) oncall.HeartbeatDecision {
		equal(t, len(all), 1)
		st := all[0]
		equal(t, []string{st.Name, st.LastAt.Format(time.TimeOnly)}, []string{"backup", start.Add(time.Minute).Format(time.TimeOnly)})
		st.Since, st.Missed = start.Truncate(time.Microsecond), &c
		return oncall.HeartbeatDecision{Put: []oncall.HeartbeatState{st, {Name: "other", Since: start}}, Changes: []oncall.AlertChange{c}}
	}
	lost := e.lease
	lost.Epoch++
	_, err := e.s.UpdateHeartbeats(e.ctx(), oncall.Write{Now: start, Lease: &lost}, decide)
	e.wantErr(err, oncall.ErrLeaseLost)
	_, err = e.s.UpdateHeartbeats(e.ctx(), e.write(), decide)
	e.must(err)
	rows, err := e.s.ReceivedAfter(e.ctx(), 0, 10)
	e.must(err)
	equal(t, len(rows), 1)
	equal(t, rows[0].Changes[0].Reason, "missed")

	e.must(e.s.Beat(e.ctx(), at(time.Hour), "backup")) // leaves what is on record
	all, err := e.s.Heartbeats(e.ctx())
	e.must(err)
	equal(t, len(all), 2)
	equal(t, all[0].Missed.Reason, "missed")
	equal(t, all[0].Missed.Labels.String(), c.Labels.String())
	equal(t, all[0].LastAt.Sub(start).Round(time.Second), time.Hour)
	equal(t, all[1].LastAt.IsZero(), true)

	_, err = e.s.UpdateHeartbeats(e.ctx(), e.write(), func([]oncall.HeartbeatState) oncall.HeartbeatDecision {
		return oncall.HeartbeatDecision{Gone: []string{"backup"}}
	})
	e.must(err)
	all, err = e.s.Heartbeats(e.ctx())
	e.must(err)
	equal(t, len(all), 1)
}
