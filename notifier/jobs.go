package notifier

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"tocsin/oncall"
)

// jobList is what is configured, nil until Apply.
type jobList struct{ atomic.Pointer[[]oncall.Job] }

// Apply sets the jobs, and who posts digests (nil: nobody), from the next look on. It may be called from any goroutine.
func (d *Drills) Apply(jobs []oncall.Job, post DigestSender) {
	d.post.Store(&post)
	d.jobs.Store(&jobs)
	poke(d.wake)
}

// jobPoll bounds how long the loop sleeps, and is how often what was postponed is tried again.
const jobPoll = 30 * time.Second

// Run does what jobs are due for, until ctx ends (nil) or the lease is lost (oncall.ErrLeaseLost). That an instant has
// come is on disk before anything follows from it, and each drill is begun once per instant and user, whoever asks. Any
// other failure of the store is logged and tried again.
func (d *Drills) Run(ctx context.Context, lease oncall.Lease) error {
	r := jobRun{Drills: d, lease: lease}
	var b backoff
	for {
		wait, wake := time.Duration(0), d.wake
		next, err := r.turn(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, oncall.ErrLeaseLost):
			return oncall.ErrLeaseLost
		case err != nil:
			d.log.ErrorContext(ctx, "jobs could not use the store; this is tried again", "err", err)
			r.states = nil // after a failed or unknown commit memory follows the store
			wait, wake = b.next(), nil
		default:
			b.reset()
			wait = max(0, time.Until(next))
		}
		if !sleep(ctx, wait, wake) {
			return nil
		}
	}
}

// jobRun is one Run. Its fields belong to the goroutine in turn.
type jobRun struct {
	*Drills
	lease  oncall.Lease
	states map[string]oncall.JobState // as in the store; nil: not known
}

// turn does what is due, and returns when to look again.
func (r *jobRun) turn(ctx context.Context) (next time.Time, err error) {
	next = time.Now().Add(jobPoll)
	jobs := r.jobs.Load()
	if jobs == nil || len(*jobs) == 0 {
		return next, nil
	}
	if r.states == nil {
		if r.states, err = r.o.Store.Jobs(ctx); err != nil {
			return next, err
		}
	}
	for _, j := range *jobs {
		if err := r.job(ctx, j); err != nil {
			return next, err
		}
		next = earlier(next, j.Next(time.Now()))
	}
	return next, nil
}

// job moves one job on.
func (r *jobRun) job(ctx context.Context, j oncall.Job) error {
	now := stored(time.Now())
	st, changed, skipped := j.Turn(r.states[j.Name], now, r.o.Policy())
	if !skipped.IsZero() {
		r.log.WarnContext(ctx, "a job was not done: it is too late for it", "job", j.Name, "due", skipped, "waiting", r.states[j.Name].Waiting)
	}
	if changed {
		if err := r.commit(ctx, st); err != nil {
			return err
		}
	}
	if len(st.Waiting) == 0 {
		return nil
	}
	if j.Digest != nil {
		return r.digest(ctx, j, st)
	}
	left := make([]oncall.JobWait, 0, len(st.Waiting))
	progress := false
	for _, w := range st.Waiting {
		started, err := r.Start(ctx, DrillWish{Users: []string{w.User}, Daytime: j.Drill.Daytime, Actor: "tocsin", Via: "job", Job: j.Name},
			"job "+j.Name+" "+st.Due.UTC().Format(time.RFC3339))
		switch code := oncall.ErrorCode(err); {
		case code == oncall.CodeNotFound || code == oncall.CodeInvalid || code == oncall.CodeInternal:
			r.log.WarnContext(ctx, "a job could not drill a user", "job", j.Name, "user", w.User, "err", err)
		case err != nil:
			return err
		case started[0].Later:
			if w.Why != started[0].Refused {
				r.log.InfoContext(ctx, "a drill is postponed", "job", j.Name, "user", w.User, "why", started[0].Refused)
				w.Why, progress = started[0].Refused, true
			}
			left = append(left, w)
			continue
		}
		progress = true
	}
	if !progress {
		return nil
	}
	st.Waiting = left
	return r.commit(ctx, st)
}

func (r *jobRun) commit(ctx context.Context, st oncall.JobState) error {
	if err := r.o.Store.CommitJob(ctx, oncall.Write{Now: stored(time.Now()), Lease: &r.lease}, st); err != nil {
		return err
	}
	r.states[st.Name] = st
	return nil
}
