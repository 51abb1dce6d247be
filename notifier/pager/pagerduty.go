package pager

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"tocsin/notifier"
	"tocsin/notifier/outgoing"
	"tocsin/oncall"
)

// PagerDuty is the notifier.Sender for endpoints of the kind "pagerduty_configs". It brings incidents to PagerDuty by
// the Events API v2, under the incident's key: a trigger for each page and each update, an acknowledgement when
// somebody has it, a resolution at its end. What PagerDuty reports back comes in by Hooks.
type PagerDuty struct {
	accounts

	mu    sync.Mutex // guards paces
	paces map[string]*pace
}

var _ notifier.Sender = (*PagerDuty)(nil)

// NewPagerDuty makes a sender for some accounts. It opens no connection. The caller calls Close when a reload has
// replaced it.
func NewPagerDuty(all map[oncall.Endpoint]Account, o AccountOptions) (*PagerDuty, error) {
	as, err := newAccounts("pagerduty_configs", all, o)
	return &PagerDuty{accounts: as, paces: map[string]*pace{}}, err
}

// Send makes one attempt to tell PagerDuty of m.
func (p *PagerDuty) Send(ctx context.Context, m notifier.Message) oncall.Attempt {
	return p.send(ctx, m, p.enqueue)
}

// enqueue sends one event.
func (p *PagerDuty) enqueue(ctx context.Context, t *attempt) {
	first := t.m.Delivery.Priority == oncall.PriorityFirst
	if wait := p.pace(t.key).take(t.At, first); wait > 0 {
		t.Outcome, t.RetryAfter, t.OwnHold = oncall.OutcomeRetry, wait, !first
		t.Error = "not sent: PagerDuty takes about 120 events a minute by one key"
		if !first {
			t.Error += ", and the rest of this minute's are kept for first pages"
		}
		return
	}
	body, err := json.Marshal(t.event(ctx))
	if err != nil {
		t.Outcome, t.Error = oncall.OutcomeRefused, "the event could not be written: "+t.Redact.Clean(err.Error())
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.account.URL.String(), bytes.NewReader(body))
	if err != nil {
		t.Outcome, t.Error = oncall.OutcomeRefused, "the request could not be written: "+t.Redact.Clean(err.Error())
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "tocsin/"+t.o.Version)
	answer := t.Do(ctx, req, t.Attempt)
	if answer == nil {
		return
	}
	outgoing.Judge(answer, t.Attempt)
	if t.Outcome == oncall.OutcomeRefused {
		var why struct {
			Message string   `json:"message"`
			Errors  []string `json:"errors"`
		}
		if json.Unmarshal(answer.Body, &why) == nil && (why.Message != "" || len(why.Errors) > 0) {
			t.Error = t.Redact.Clean("refused: " + strings.TrimSuffix(why.Message+": "+strings.Join(why.Errors, "; "), ": "))
		}
	}
}

// pace returns what is remembered of a key's events.
func (p *PagerDuty) pace(key string) *pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paces[key] == nil {
		p.paces[key] = &pace{}
	}
	return p.paces[key]
}

// What a routing key takes in a minute, by PagerDuty's documents, and how much of it is not for first pages.
const (
	perMinute       = 120
	perMinuteOthers = 90
)

// pace counts the events of one routing key in a sliding minute, whichever endpoints share it.
type pace struct {
	mu   sync.Mutex // guards sent
	sent []time.Time
}

// take counts an event in, or says how long to wait until there is room. What is no first page leaves room for those.
func (p *pace) take(now time.Time, first bool) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := 0
	for old < len(p.sent) && now.Sub(p.sent[old]) >= time.Minute {
		old++
	}
	p.sent = p.sent[old:]
	most := perMinuteOthers
	if first {
		most = perMinute
	}
	if n := len(p.sent); n >= most {
		return p.sent[n-most].Add(time.Minute).Sub(now)
	}
	p.sent = append(p.sent, now)
	return 0
}
