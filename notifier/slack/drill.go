package slack

import (
	"context"
	"fmt"
	"strings"

	"tocsin/notifier"
	"tocsin/oncall"
)

// Drills begins drills. The package notifier implements it.
type Drills interface {
	// Start begins a drill of each user, once for each request. Codes: not_found, invalid, unavailable.
	Start(ctx context.Context, w notifier.DrillWish, request string) ([]notifier.DrillStarted, error)
}

// parseDrill reads who is to be drilled: nobody named is whoever asks.
func parseDrill(t typed, rest, usage string) (typed, string) {
	user, more := cutName(rest)
	if strings.TrimSpace(more) != "" {
		return t, "One user at a time, please." + usage
	}
	t.user = strings.TrimPrefix(user, "@")
	return t, ""
}

// drill begins a drill of one user.
func (a *Adapter) drill(ctx context.Context, t typed, who person, request string) (string, error) {
	if a.drills == nil {
		return "No drill can be begun here.", nil
	}
	user := who.user
	if t.user != "" {
		var complaint string
		if user, complaint = a.named(ctx, t.user, who); complaint != "" {
			return strings.Replace(complaint, "Nothing was changed", "Nobody was drilled", 1), nil
		}
	}
	if user == "" {
		return "Nobody was drilled: you are no user of tocsin. Name one: " + code(a.cfg.Command+" drill @user", 60) + ".", nil
	}
	started, err := a.drills.Start(ctx, notifier.DrillWish{Users: []string{user}, Actor: who.name, Via: "slack"}, request)
	if code := oncall.ErrorCode(err); code == oncall.CodeInvalid || code == oncall.CodeNotFound {
		return "Nobody was drilled: " + prose(err.Error(), 300) + ".", nil
	}
	if err != nil {
		return a.settle(err)
	}
	var b strings.Builder
	for _, s := range started {
		if s.Refused != "" {
			fmt.Fprintf(&b, "Nobody was drilled: %s.", prose(s.Refused, 300))
			continue
		}
		fmt.Fprintf(&b, "The drill #%d of %s has begun: a marked page by each of their contacts.", s.Number, prose(s.User, 60))
		if page := a.page(s.Number); page != "" {
			b.WriteString(" " + page)
		}
	}
	return b.String(), nil
}
