package web

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"tocsin/notifier"
	"tocsin/oncall"
)

// Overrides is the way in for people who change who is on call for a while: *notifier.Overrides.
type Overrides interface {
	// Add makes an override, once per request. Codes: invalid, not_found, conflict, unavailable.
	Add(ctx context.Context, w oncall.OverrideWish, request string) (notifier.Overridden, error)
	// Swap has two users take each other's shifts, once per request. Codes as for Add.
	Swap(ctx context.Context, w oncall.SwapWish, request string) (notifier.Overridden, error)
	// End ends an override, or cancels one that has not begun, once per request. Codes: not_found, conflict, unavailable.
	End(ctx context.Context, id, actor, request string) (notifier.Overridden, error)
}

var (
	overrideAction = action{kind: "override", fields: []string{"schedule", "kind", "who", "replaces", "from", "to", "for", "reason"}}
	swapAction     = action{kind: "swap", fields: []string{"schedule", "who", "at", "with", "with_at", "reason"}}
	endAction      = action{kind: "end"}
)

// overriddenView is the answer to a change: the overrides as they are now, and one sentence.
type overriddenView struct {
	Overrides []oncall.Override `json:"overrides"`
	Reply     string            `json:"reply"`
	Mind      string            `json:"mind,omitempty"` // when nobody will be on call because of it
}

// listOverrides lists the overrides that are not over; all=true lists those that are kept.
func (w *Web) listOverrides(rw http.ResponseWriter, r *http.Request) {
	q, p, at := r.URL.Query(), w.o.Policy(), now()
	if err := known(q, "schedule", "all"); err != nil {
		w.fail(rw, r, err)
		return
	}
	all := q.Get("all") == "true"
	list := []oncall.Override{}
	for _, o := range p.Overrides {
		if (q.Get("schedule") == "" || q.Get("schedule") == o.Schedule) && (all || at.Before(o.To) && o.EndedAt.IsZero()) {
			list = append(list, o)
		}
	}
	slices.SortStableFunc(list, func(a, b oncall.Override) int { return a.From.Compare(b.From) })
	w.writeJSON(rw, http.StatusOK, list)
}

// changeOverrides is what the three changes have in common: who asks, the request's identity, and the answer.
func (w *Web) changeOverrides(a action, status int, change func(text map[string]string, actor, request string, r *http.Request) (notifier.Overridden, error)) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		done, err := w.changeOverride(rw, r, a, change)
		if err != nil {
			w.fail(rw, r, err)
			return
		}
		if done.Overrides == nil {
			done.Overrides = []oncall.Override{}
		}
		w.writeJSON(rw, status, overriddenView{done.Overrides, done.Reply, done.Mind})
	}
}

func (w *Web) changeOverride(rw http.ResponseWriter, r *http.Request, a action,
	change func(map[string]string, string, string, *http.Request) (notifier.Overridden, error)) (notifier.Overridden, error) {
	if w.o.Overrides == nil {
		return notifier.Overridden{}, oncall.Errorf(oncall.CodeUnavailable, "overrides cannot be changed here")
	}
	b, err := readBody(http.MaxBytesReader(rw, r.Body, maxBody), a)
	if err != nil {
		return notifier.Overridden{}, err
	}
	text := map[string]string{}
	for _, field := range append([]string{"user"}, a.fields...) {
		if text[field], err = b.text(field); err != nil {
			return notifier.Overridden{}, err
		}
	}
	actor, err := w.actor(r, text["user"], anonymous)
	if err != nil {
		return notifier.Overridden{}, err
	}
	request, err := requestID(r, string(a.kind), actor)
	if err != nil {
		return notifier.Overridden{}, err
	}
	done, err := change(text, actor, request, r)
	if refusal, ok := errors.AsType[*oncall.Error](err); ok && refusal.Code == oncall.CodeNotFound && r.Method == http.MethodPost {
		err = oncall.Errorf(oncall.CodeInvalid, "%s", refusal.Message) // the path is right, what the body names is not
	}
	return done, err
}

func (w *Web) addOverride(text map[string]string, actor, request string, r *http.Request) (notifier.Overridden, error) {
	wish := oncall.OverrideWish{Schedule: text["schedule"], Kind: oncall.OverrideKind(text["kind"]), User: text["who"], Replaces: text["replaces"],
		Actor: actor, Reason: text["reason"]}
	s, err := w.o.Policy().Schedule(wish.Schedule)
	if err != nil {
		return notifier.Overridden{}, err
	}
	for field, to := range map[string]*time.Time{"from": &wish.From, "to": &wish.To} {
		if text[field] == "" {
			continue
		}
		if *to, _, err = s.ParseWhen(text[field]); err != nil {
			return notifier.Overridden{}, oncall.Errorf(oncall.CodeInvalid, "%s: %v", field, err)
		}
	}
	if text["for"] != "" {
		d, err := model.ParseDuration(text["for"])
		if err != nil || d <= 0 {
			return notifier.Overridden{}, oncall.Errorf(oncall.CodeInvalid, "for: %q is no duration such as 30m or 2h", text["for"])
		}
		wish.For = time.Duration(d)
	}
	return w.o.Overrides.Add(r.Context(), wish, request)
}

func (w *Web) swapShifts(text map[string]string, actor, request string, r *http.Request) (notifier.Overridden, error) {
	wish := oncall.SwapWish{Schedule: text["schedule"], Mine: oncall.Turn{User: text["who"]}, Theirs: oncall.Turn{User: text["with"]}, Actor: actor, Reason: text["reason"]}
	s, err := w.o.Policy().Schedule(wish.Schedule)
	if err != nil {
		return notifier.Overridden{}, err
	}
	for field, to := range map[string]*oncall.Turn{"at": &wish.Mine, "with_at": &wish.Theirs} {
		if to.At, to.Day, err = s.ParseWhen(text[field]); err != nil {
			return notifier.Overridden{}, oncall.Errorf(oncall.CodeInvalid, "%s: %v", field, err)
		}
	}
	return w.o.Overrides.Swap(r.Context(), wish, request)
}

func (w *Web) endOverride(_ map[string]string, actor, request string, r *http.Request) (notifier.Overridden, error) {
	return w.o.Overrides.End(r.Context(), r.PathValue("id"), actor, request)
}
