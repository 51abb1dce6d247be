package pager

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tocsin/notifier"
	"tocsin/notifier/outgoing"
	"tocsin/oncall"
)

// Opsgenie is the notifier.Sender for endpoints of the kind "opsgenie_configs": Opsgenie, and Jira Service Management,
// which speaks the same. It brings incidents there as alerts whose alias is the incident's key. Opsgenie answers before
// it has done what it is asked, so an attempt asks again what became of it. What Opsgenie reports back comes in by
// Hooks.
type Opsgenie struct{ accounts }

var _ notifier.Sender = (*Opsgenie)(nil)

// NewOpsgenie makes a sender for some accounts. It opens no connection. The caller calls Close when a reload has
// replaced it.
func NewOpsgenie(all map[oncall.Endpoint]Account, o AccountOptions) (*Opsgenie, error) {
	as, err := newAccounts("opsgenie_configs", all, o)
	return &Opsgenie{accounts: as}, err
}

// confirmWithin is how long an attempt waits for Opsgenie to say what became of a request.
const confirmWithin = 8 * time.Second

// firstPoll and maxPoll are the waits between asking what became of a request: the first, and the longest.
const (
	firstPoll = 250 * time.Millisecond
	maxPoll   = 2 * time.Second
)

// Send makes one attempt to tell Opsgenie of m.
func (o *Opsgenie) Send(ctx context.Context, m notifier.Message) oncall.Attempt {
	return o.send(ctx, m, func(ctx context.Context, t *attempt) {
		switch m.Delivery.Kind {
		case oncall.KindAcknowledged:
			t.command(ctx, "acknowledge")
		case oncall.KindResolved:
			t.command(ctx, "close")
		default:
			t.bring(ctx)
		}
	})
}

// bring creates the alert, or finds it open already. An alert that was acknowledged there wakes nobody when it is
// created once more, so a page of a later round takes the acknowledgement back.
func (t *attempt) bring(ctx context.Context) {
	f := factsOf(t.m.Incident, t.o.ExternalURL)
	alert := f.opsgenieAlert(t.m.Incident.Key, t.words(ctx))
	t.ask(ctx, http.MethodPost, t.address("", false), alert)
	if t.Outcome != oncall.OutcomeDelivered {
		return
	}
	created := *t.Attempt
	var more []func()
	if t.m.Delivery.Kind == oncall.KindTriggered && t.m.Delivery.Round > 0 {
		more = append(more, func() { t.command(ctx, "unacknowledge") })
	}
	if t.m.Delivery.Kind == oncall.KindUpdated && t.account.UpdateAlerts {
		more = append(more, func() {
			t.ask(ctx, http.MethodPut, t.address("/message", true), map[string]string{"message": alert.Message})
		}, func() {
			t.ask(ctx, http.MethodPut, t.address("/description", true), map[string]string{"description": alert.Description})
		})
	}
	for _, step := range more {
		if step(); t.Outcome == oncall.OutcomeRetry || t.Outcome == oncall.OutcomeUnknown {
			return // all of it is done again: the alias makes it the same alert
		}
	}
	*t.Attempt = created // a refusal says that there was nothing to take back
}

// command acts on the alert.
func (t *attempt) command(ctx context.Context, verb string) {
	in := t.m.Incident
	who := in.AcknowledgedBy
	if verb == "close" {
		who = in.ResolvedBy
	}
	c := opsgenieAct{User: echoUser(who), Source: echoSource, Note: "by tocsin"}
	switch {
	case verb == "close" && who == "":
		c.Note = "all alerts resolved"
	case verb == "acknowledge" && in.State == oncall.IncidentSnoozed:
		c.Note = "snoozed in tocsin until " + in.SnoozedUntil.UTC().Format("2006-01-02 15:04 MST")
	case verb == "unacknowledge":
		c.User, c.Note = echoUser(""), "it is not acknowledged any more, and is to be looked at again"
	}
	t.ask(ctx, http.MethodPost, t.address("/"+verb, true), c)
}

// opsgenieAct is what an act on an alert carries.
type opsgenieAct struct {
	User   string `json:"user"`
	Source string `json:"source"`
	Note   string `json:"note,omitempty"`
}

// address is that of the alerts, or of something about this incident's.
func (t *attempt) address(what string, one bool) string {
	u := *t.account.URL
	u.Path = strings.TrimSuffix(u.Path, "/") + "/v2/alerts"
	u.RawPath = ""
	if one {
		u.RawPath = u.EscapedPath() + "/" + url.PathEscape(t.m.Incident.Key) + what
		u.Path += "/" + t.m.Incident.Key + what
		u.RawQuery = url.Values{"identifierType": {"alias"}}.Encode()
	}
	return u.String()
}

// ask makes a request and waits for what becomes of it. It writes the outcome into the attempt.
func (t *attempt) ask(ctx context.Context, method, address string, body any) {
	b, err := json.Marshal(body)
	if err == nil {
		var req *http.Request
		if req, err = http.NewRequestWithContext(ctx, method, address, bytes.NewReader(b)); err == nil {
			t.asked(ctx, t.head(req))
			return
		}
	}
	t.Outcome, t.Error = oncall.OutcomeRefused, "the request could not be written: "+t.Redact.Clean(err.Error())
}

func (t *attempt) head(req *http.Request) *http.Request {
	req.Header.Set("Authorization", "GenieKey "+t.key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "tocsin/"+t.o.Version)
	return req
}

// opsgenieAnswer is what Opsgenie says to a request, and to the question what became of one.
type opsgenieAnswer struct {
	Message   string `json:"message"`
	Result    string `json:"result"`
	RequestID string `json:"requestId"`
	Data      struct {
		IsSuccess *bool  `json:"isSuccess"`
		Status    string `json:"status"`
	} `json:"data"`
}

// asked makes a request and waits for what becomes of it.
func (t *attempt) asked(ctx context.Context, req *http.Request) {
	t.Error = ""
	answer := t.Do(ctx, req, t.Attempt)
	if answer == nil {
		return
	}
	outgoing.Judge(answer, t.Attempt)
	var said opsgenieAnswer
	err := json.Unmarshal(answer.Body, &said)
	switch {
	case answer.Status == http.StatusNotImplemented: // it will not learn it
		t.Outcome, t.Error, t.RetryAfter = oncall.OutcomeRefused, "refused with 501 Not Implemented", 0
	case t.Outcome == oncall.OutcomeRefused && err == nil && said.Message != "":
		t.Error = t.Redact.Clean("refused: " + said.Message)
	case t.Outcome != oncall.OutcomeDelivered:
	case answer.Status == http.StatusAccepted && said.RequestID != "":
		t.confirm(ctx, said.RequestID)
	case err != nil:
		t.Outcome, t.Error = oncall.OutcomeUnknown, "accepted, but the answer is not Opsgenie's: is api_url right?"
	}
}

// confirm waits until Opsgenie says what became of a request that it took.
func (t *attempt) confirm(ctx context.Context, request string) {
	u := *t.account.URL
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/")+"/v2/alerts/requests/"+request, ""
	ctx, cancel := context.WithTimeout(ctx, confirmWithin)
	defer cancel()
	wait, why := firstPoll, ""
	for pause(ctx, wait) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			why = err.Error()
			break
		}
		poll := oncall.Attempt{At: time.Now()}
		wait = min(2*wait, maxPoll)
		answer := t.Do(ctx, t.head(req), &poll)
		if answer == nil {
			why = poll.Error
			continue
		}
		var said opsgenieAnswer
		if answer.Status != http.StatusOK || json.Unmarshal(answer.Body, &said) != nil || said.Data.IsSuccess == nil {
			why = "" // 404 says that it has not come to it yet
			if answer.Status != http.StatusNotFound && answer.Status != http.StatusOK {
				why = "asked about it, it answered " + http.StatusText(answer.Status)
				wait = max(wait, outgoing.RetryAfter(answer.Header.Get("Retry-After"), poll.At))
			}
			continue
		}
		t.Excerpt = poll.Excerpt
		if !*said.Data.IsSuccess {
			t.Outcome = oncall.OutcomeRefused
			t.Error = t.Redact.Clean("refused: " + cmp.Or(said.Data.Status, "it said not why"))
		}
		return
	}
	t.Outcome, t.Error = oncall.OutcomeUnknown, "Opsgenie took the request, and did not confirm it within "+confirmWithin.String()
	if errors.Is(ctx.Err(), context.Canceled) {
		t.Error = "Opsgenie took the request; the attempt was cut short before it was confirmed"
	}
	if why != "" {
		t.Error = t.Redact.Clean(t.Error + ": " + why)
	}
}

// pause waits, and returns false where ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
