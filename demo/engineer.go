package demo

import "time"

// deed is something that the scripted engineer does next.
type deed string

// The deeds. None means to wait.
const (
	deedNone    deed = ""
	deedAck     deed = "acknowledge"
	deedRestart deed = "restart"
	deedPatch   deed = "patch"
)

// How long people take, in story time. Finding and fixing the leak takes the half hour that it took in
// 2024, once somebody knew where to look.
const (
	wakingUp     = 2 * time.Minute // from being told to pressing Acknowledge
	lookingAtIt  = 2 * time.Minute // from there to restarting the session service
	fixingIt     = 30 * time.Minute
	tryAgainWait = time.Minute
)

// situation is what the engineer knows, in story time; zero times mean "not yet".
type situation struct {
	now       time.Time
	incident  *incident // the outage's, nil before it
	told      time.Time // when bo was asked for attention
	acked     time.Time
	restarted bool // since the incident began, by anybody
	patched   bool
	lastTry   time.Time // of the last deed
}

// next is the scripted part of the story: ana does not wake up, bo does. Whatever the visitor does first
// is left as it is.
func next(s situation) deed {
	if s.incident == nil || s.patched || s.now.Sub(s.lastTry) < tryAgainWait {
		return deedNone
	}
	if s.acked.IsZero() {
		if s.incident.State == "triggered" && !s.told.IsZero() && s.now.Sub(s.told) >= wakingUp {
			return deedAck
		}
		return deedNone
	}
	switch since := s.now.Sub(s.acked); {
	case !s.restarted && since >= lookingAtIt && s.incident.State != "resolved":
		return deedRestart
	case since >= fixingIt:
		return deedPatch
	}
	return deedNone
}
