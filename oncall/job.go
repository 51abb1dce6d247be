package oncall

import (
	"slices"
	"time"
)

// Job is what happens at instants that a cron expression names: drills, or a digest. Immutable.
type Job struct {
	Name     string
	Cron     Cron
	TimeZone *time.Location // never nil
	Drill    DrillJob
	Digest   *DigestJob // nil: the job is a drill
}

// DigestJob says where a digest of what is open is posted.
type DigestJob struct {
	Slack  string // channel
	Always bool   // also where nothing is open and nothing has ended
}

// DrillJob says whom a job drills. Exactly one of Users, All and OnCallNext is set.
type DrillJob struct {
	Users      []string
	All        bool   // everybody who can be reached
	OnCallNext string // whoever comes on call next by this schedule
	Daytime    bool   // each in their daytime
}

// JobState is how far a job has come.
type JobState struct {
	Name    string    `json:"name"`
	Spec    string    `json:"spec"`              // cron expression and zone: another one begins anew
	Done    time.Time `json:"done"`              // every instant up to here is dealt with
	Due     time.Time `json:"due,omitzero"`      // the instant that Waiting is about
	Waiting []JobWait `json:"waiting,omitempty"` // who is still to be drilled for it, or told
}

// JobWait is a user whom a job is still to drill, or the channel that it is still to tell.
type JobWait struct {
	User string `json:"user"`
	Why  string `json:"why,omitempty"` // why it was postponed, "" where nothing was tried yet
}

// JobLate is how late a job still does what it missed.
const JobLate = 24 * time.Hour

// spec identifies when the job is due.
func (j Job) spec() string { return j.Cron.String() + " " + j.TimeZone.String() }

// Next returns the first instant after t at which the job is due, zero where there is none. Clocks decide as for
// shifts: a time that they skip is the moment when they do, one that they show twice is the first of both.
func (j Job) Next(t time.Time) time.Time {
	w, ok := j.Cron.next(passedAt(t, j.TimeZone))
	if !ok {
		return time.Time{}
	}
	return instantOf(w, j.TimeZone)
}

// latest returns the last instant after one and not after another at which the job is due.
func (j Job) latest(after, upTo time.Time) (at time.Time, ok bool) {
	const farthest = 400 * 24 * time.Hour // of what lies before, nothing is done any more
	if upTo.Sub(after) > farthest {
		after = upTo.Add(-farthest)
	}
	end := passedAt(upTo, j.TimeZone)
	for w, more := j.Cron.next(passedAt(after, j.TimeZone)); more && !w.After(end); w, more = j.Cron.next(w) {
		at, ok = instantOf(w, j.TimeZone), true
	}
	return at, ok
}

// Turn moves a job on: what it is to do is in Waiting. changed is false where nothing is new. skipped is an instant that
// was missed by so much that nothing is done for it, zero for none. A job that was never seen, or is due at other times
// than before, begins now.
func (j Job) Turn(last JobState, now time.Time, p Policy) (next JobState, changed bool, skipped time.Time) {
	if last.Name == "" || last.Spec != j.spec() {
		return JobState{Name: j.Name, Spec: j.spec(), Done: now, Due: last.Due, Waiting: last.Waiting}, true, time.Time{}
	}
	next = last
	if at, ok := j.latest(last.Done, now); ok {
		next.Done, changed = at, true
		if now.Sub(at) >= JobLate {
			return next, true, at
		}
		next.Due, next.Waiting = at, nil
		for _, u := range j.users(at, p) {
			next.Waiting = append(next.Waiting, JobWait{User: u})
		}
	}
	if len(next.Waiting) > 0 && now.Sub(next.Due) >= JobLate {
		next.Waiting, changed, skipped = nil, true, next.Due
	}
	return next, changed, skipped
}

// users returns whom the job drills for an instant, sorted.
func (j Job) users(at time.Time, p Policy) []string {
	var users []string
	switch {
	case j.Digest != nil:
		return []string{j.Digest.Slack}
	case j.Drill.All:
		users = p.Reachable()
	case j.Drill.OnCallNext != "":
		if s, ok := p.Schedules[j.Drill.OnCallNext]; ok {
			if shift, ok := s.NextChange(p.Overrides, at); ok {
				users = slices.Clone(shift.Users)
			}
		}
	default:
		users = slices.Clone(j.Drill.Users)
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// Reachable returns the users who have a contact, sorted.
func (p Policy) Reachable() (users []string) {
	for name, u := range p.Users {
		if u.reachable() {
			users = append(users, name)
		}
	}
	slices.Sort(users)
	return users
}
