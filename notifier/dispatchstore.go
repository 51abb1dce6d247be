package notifier

import (
	"context"

	"tocsin/oncall"
)

// DispatchStore is what the dispatcher needs of the store.
type DispatchStore interface {
	// LoadDispatch returns what the dispatcher keeps in memory, as committed.
	LoadDispatch(ctx context.Context) (oncall.DispatchState, error)
	// ReceivedAfter returns the log after a Seq, oldest first: at most limit rows, and no more after about 4 MB.
	ReceivedAfter(ctx context.Context, seq int64, limit int) ([]oncall.Received, error)
	// CommitDispatch commits d in one transaction under w's lease. Committing the same again changes nothing
	// but the order numbers of Changes.
	CommitDispatch(ctx context.Context, w oncall.Write, d oncall.Dispatch) error
	// Silences returns all silences that are kept, and a version that grows with every change of one.
	Silences(ctx context.Context) (all []oncall.Silence, version int64, err error)
	// SilencesVersion returns that version alone: the cheap question whether to read them again.
	SilencesVersion(ctx context.Context) (int64, error)
}

// ReceiveStore takes in what is posted.
type ReceiveStore interface {
	// Receive appends a row to the log; it needs no lease. After nil the alerts are on disk.
	Receive(ctx context.Context, w oncall.Write, posted []oncall.PostedAlert) error
}

// SilenceStore keeps silences.
type SilenceStore interface {
	// Silences and SilencesVersion are those of DispatchStore.
	Silences(ctx context.Context) (all []oncall.Silence, version int64, err error)
	SilencesVersion(ctx context.Context) (int64, error)
	// UpdateSilence loads the silence with the ID (found false: there is none), calls decide, and commits the
	// silences that it returns: the changed one, or that one expired and a new one. decide is pure and may run
	// again. It returns what was committed.
	UpdateSilence(ctx context.Context, w oncall.Write, id string,
		decide func(s oncall.Silence, found bool) ([]oncall.Silence, error)) ([]oncall.Silence, error)
}

// GroupSender makes one attempt to notify an integration of a group. Like Sender it always returns an outcome.
// Remote of the attempt replaces that of the group's Notice where it is not empty; previous is the group's Notice
// of the last delivery there, zero for none. route is the group's, for its labels.
type GroupSender interface {
	SendGroup(ctx context.Context, d oncall.GroupDelivery, route *oncall.Route, previous oncall.Notice) oncall.Attempt
}
