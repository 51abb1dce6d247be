package notifier

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"tocsin/oncall"
)

// BundleStore is what Acts needs of the store to act on bundles.
type BundleStore interface {
	// Bundle returns what a delivery carries, with its incidents as they stand; not_found where it carries nothing.
	Bundle(ctx context.Context, carrier string) (oncall.Bundle, error)
	// BundleAsking returns the incidents of a bundle that nobody has acknowledged yet.
	BundleAsking(ctx context.Context, carrier string) ([]int64, error)
}

// together is how many incidents of a bundle are acknowledged side by side: they share commits.
const together = 32

// Bundle returns what a delivery carries, with its incidents as they stand. Code: not_found where it carries nothing.
func (a *Acts) Bundle(ctx context.Context, carrier string) (oncall.Bundle, error) {
	if a.o.Bundles == nil {
		return oncall.Bundle{}, oncall.Errorf(oncall.CodeNotFound, "nothing is bundled here")
	}
	return a.o.Bundles.Bundle(ctx, carrier)
}

// AcknowledgeBundle acknowledges every incident of a bundle that nobody has yet, each by itself and on its own timeline,
// and returns how many. It goes through all of them whatever happens to one: with an error, some were not acknowledged,
// and the caller may ask again. Once begun it is not given up because ctx ends: somebody pressed, and may have hung up.
func (a *Acts) AcknowledgeBundle(ctx context.Context, carrier, actor, via string) (acknowledged int, err error) {
	ctx = context.WithoutCancel(ctx)
	all, err := a.Bundle(ctx, carrier)
	if err != nil {
		return 0, err
	}
	numbers, err := a.o.Bundles.BundleAsking(ctx, carrier)
	if err != nil {
		return 0, err
	}
	if all.Count > 1 {
		via = fmt.Sprintf("%s for %d incidents", via, all.Count)
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // guards acknowledged and err
		slots = make(chan struct{}, together)
	)
	for _, n := range numbers {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			d, actErr := a.Act(ctx, n, oncall.Command{Kind: oncall.CmdAcknowledge, Actor: actor, Via: via}, "")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case actErr != nil && oncall.ErrorCode(actErr) != oncall.CodeNotFound:
				err = errors.Join(actErr) // one stands for all: a store that is down fails them alike
			case d.Changed:
				acknowledged++
			}
		})
	}
	wg.Wait()
	return acknowledged, err
}
