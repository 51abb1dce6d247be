package alertmanagers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/evaluator"
)

const (
	// maxAnswer is how much of an answer is read, maxExcerpt how much of it is shown.
	maxAnswer  = 4 << 10
	maxExcerpt = 300
)

// alert is an alert in the form of Alertmanager's API.
type alert struct {
	Labels       labels.Labels     `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	StartsAt     time.Time         `json:"startsAt,omitzero"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// alive is how long an alert fires at an Alertmanager that hears no more of it.
func alive(interval time.Duration) time.Duration { return 4 * max(interval, resendEvery) }

// form is a as it is sent at now.
func form(a evaluator.Forwarded, now time.Time) alert {
	out := alert{Labels: a.Labels, Annotations: a.Annotations, StartsAt: a.StartsAt.UTC(), EndsAt: a.EndsAt.UTC()}
	if a.StartsAt.IsZero() {
		out.StartsAt = time.Time{}
	}
	if a.EndsAt.IsZero() {
		out.EndsAt = now.Add(alive(a.Interval)).UTC()
	}
	if out.EndsAt.Before(out.StartsAt) { // the clock was set back between the two
		out.EndsAt = out.StartsAt
	}
	// One URL that is none would make the Alertmanager refuse the whole request.
	if u, err := url.Parse(a.GeneratorURL); err == nil && u.IsAbs() && u.Host != "" {
		out.GeneratorURL = a.GeneratorURL
	}
	return out
}

func encode(batch []evaluator.Forwarded, now time.Time) ([]byte, error) {
	out := make([]alert, len(batch))
	for i, a := range batch {
		out[i] = form(a, now)
	}
	return json.Marshal(out)
}

// send sends a batch and reports whether it is done with: taken, or refused for good. One of several that
// is refused is found by halving the batch.
func (e *end) send(ctx context.Context, batch []evaluator.Forwarded) bool {
	began := time.Now()
	body, err := encode(batch, began)
	if err != nil {
		e.f.metrics.drop(e, len(batch))
		e.f.quiet(e, "Alerts cannot be encoded", err)
		return true
	}
	status, err := e.post(ctx, body)
	switch {
	case err == nil:
		e.f.metrics.request(e, "sent", time.Since(began))
		e.f.metrics.sent(e, len(batch))
		e.well()
		return true
	case !final(status):
		e.f.metrics.request(e, "failed", time.Since(began))
		if ctx.Err() == nil {
			e.ill(err)
		}
		return false
	}
	e.f.metrics.request(e, "refused", time.Since(began))
	e.well()
	if half := len(batch) / 2; half > 0 && ctx.Err() == nil {
		return e.send(ctx, batch[:half]) && e.send(ctx, batch[half:])
	}
	e.f.metrics.drop(e, len(batch))
	e.f.quiet(e, "An Alertmanager refused an alert: "+batch[0].Labels.String(), err)
	return true
}

// final tells an answer that is about the alerts from one that people or time can mend.
func final(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge || status == http.StatusUnprocessableEntity
}

// post sends one request. The status is 0 where there was no answer.
func (e *end) post(ctx context.Context, body []byte) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.config.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.address, bytes.NewReader(body))
	if err != nil {
		return 0, e.explain(ctx, err)
	}
	req.Header.Set("User-Agent", strings.TrimSuffix("tocsin/"+e.f.o.Version, "/"))
	for name, value := range e.config.Headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.http.Do(req)
	if err != nil {
		return 0, e.explain(ctx, err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing depends on it
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 == 2 {
		return resp.StatusCode, nil
	}
	text := short(string(answer))
	if text != "" {
		text = ": " + text
	}
	return resp.StatusCode, fmt.Errorf("%s answered %d %s%s", e.shown, resp.StatusCode, http.StatusText(resp.StatusCode), text)
}

// explain words an error of the network, without the URL, which may hold credentials.
func (e *end) explain(ctx context.Context, err error) error {
	ne, isNet := errors.AsType[net.Error](err)
	if errors.Is(err, context.DeadlineExceeded) || isNet && ne.Timeout() {
		return fmt.Errorf("%s did not answer in time", e.shown)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("sending to %s was broken off", e.shown)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		err = op.Err
	}
	return fmt.Errorf("%s cannot be reached: %s", e.shown, short(err.Error()))
}

// well and ill note whether the Alertmanager answers; only changes are logged.
func (e *end) well() {
	e.mu.Lock()
	down := e.down
	e.down = time.Time{}
	e.mu.Unlock()
	if !down.IsZero() {
		e.f.log.Info("An Alertmanager takes alerts again", "alertmanager", e.shown, "was_away_for", time.Since(down).Round(time.Second))
	}
}

func (e *end) ill(err error) {
	e.mu.Lock()
	first := e.down.IsZero()
	if first {
		e.down = time.Now()
	}
	e.mu.Unlock()
	if first {
		e.f.log.Warn("An Alertmanager does not take alerts; they are sent when it does", "alertmanager", e.shown, "err", err)
	}
}

// short makes text from outside fit for one line.
func short(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '\uFFFD'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > maxExcerpt {
		s = string(r[:maxExcerpt]) + "…"
	}
	return s
}
