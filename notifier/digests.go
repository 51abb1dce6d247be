package notifier

import (
	"context"
	"time"

	"tocsin/oncall"
)

// Digest is what a channel reads once a day.
type Digest struct {
	At    time.Time         // the instant that it is about
	Open  []oncall.Incident // triggered, acknowledged or snoozed, newest first
	Ended int               // resolved within the day before
}

// DigestSender makes one attempt to post a digest in a channel. It always returns an outcome, and never retries by itself.
type DigestSender interface {
	SendDigest(ctx context.Context, channel string, d Digest) oncall.Attempt
}

// digestLate is how long a digest is worth posting: what comes later is no morning's reading.
const digestLate = 4 * time.Hour

// digest posts what a job is due for. An attempt that was not confirmed is made again at the next look; a crash between
// Slack's answer and the commit may post it twice, because Slack has no place for a key.
func (r *jobRun) digest(ctx context.Context, j oncall.Job, st oncall.JobState) error {
	done := st
	done.Waiting = nil
	post := r.post.Load()
	if post == nil || *post == nil || time.Since(st.Due) > digestLate {
		r.log.WarnContext(ctx, "a digest was not posted: it is too late for it, or Slack is not configured", "job", j.Name, "due", st.Due)
		return r.commit(ctx, done)
	}
	d := Digest{At: st.Due}
	var err error
	if d.Open, err = openIncidents(ctx, r.o.Store); err != nil {
		return err
	}
	if d.Ended, err = r.ended(ctx, st.Due.Add(-24*time.Hour)); err != nil {
		return err
	}
	if len(d.Open)+d.Ended == 0 && !j.Digest.Always {
		return r.commit(ctx, done)
	}
	sending, cancel := context.WithTimeout(ctx, hardTimeout)
	defer cancel()
	a := (*post).SendDigest(sending, j.Digest.Slack, d)
	r.log.InfoContext(ctx, "a digest was posted", "job", j.Name, "channel", j.Digest.Slack, "open", len(d.Open), "outcome", a.Outcome, "err", a.Error)
	switch a.Outcome {
	case oncall.OutcomeRetry, oncall.OutcomeUnknown:
		return nil // it waits still
	}
	return r.commit(ctx, done)
}

// ended counts the incidents that were resolved since an instant.
func (r *jobRun) ended(ctx context.Context, since time.Time) (n int, err error) {
	const page = 500
	f := oncall.IncidentFilter{Limit: page, States: []oncall.IncidentState{oncall.IncidentResolved}}
	for {
		got, err := r.o.Store.Incidents(ctx, f)
		if err != nil {
			return 0, err
		}
		recent := false
		for _, in := range got {
			if !in.ResolvedAt.Before(since) {
				n++
			}
			recent = recent || !in.ResolvedAt.Before(since)
		}
		// Numbers follow openings, not ends: a page on which nothing ended lately is taken for the end of them.
		if len(got) < page || !recent {
			return n, nil
		}
		f.Before = got[len(got)-1].Number
	}
}
