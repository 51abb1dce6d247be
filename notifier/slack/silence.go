package slack

import (
	"context"

	"tocsin/notifier"
	"tocsin/oncall"
)

// silence carries out the slash command.
func (a *Adapter) silence(ctx context.Context, t typed, who person, request string) (string, error) {
	done, err := a.acts.Silence(ctx, t.number, oncall.SilenceWish{For: t.until, Comment: t.text, Actor: who.name, Via: "slack"}, request)
	switch {
	case err != nil:
		return a.settle(err)
	case done.Reply == notifier.AlreadyDone:
		return a.present(ctx, t.number)
	}
	return prose(done.Reply, 1500) + ".", nil
}
