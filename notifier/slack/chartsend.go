package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tocsin/notifier"
	"tocsin/notifier/chart"
	"tocsin/oncall"
)

const (
	chartDataTimeout = 10 * time.Second
	maxDrawing       = 2    // charts that are drawn at once; the others wait
	maxAlt           = 1000 // characters
	chartLate        = 10 * time.Minute
)

// drawing bounds what charts cost, over all workspaces.
var drawing = make(chan struct{}, maxDrawing)

// chart makes one attempt to draw and post a chart. What fails before the last call has posted nothing and may be
// tried again.
func (a *Adapter) chart(ctx context.Context, m notifier.Message) oncall.Attempt {
	at := oncall.Attempt{At: time.Now(), Number: m.Delivery.Attempts, Outcome: oncall.OutcomeDelivered}
	if err := a.postChart(ctx, m, &at); err != nil {
		if at.Outcome == oncall.OutcomeDelivered {
			at.Outcome = oncall.OutcomeRefused
		}
		at.Error = bounded(clean(a.redact(err.Error())))
	}
	at.Took = time.Since(at.At)
	return at
}

// postChart's error is final where it leaves the outcome alone.
func (a *Adapter) postChart(ctx context.Context, m notifier.Message, at *oncall.Attempt) error {
	channel, ts, ok := strings.Cut(m.Thread, "/")
	switch {
	case !ok || channel == "" || ts == "":
		return errors.New("there is no message to put a chart under")
	case a.cfg.NoCharts:
		return errors.New("charts are switched off for this workspace")
	case !m.Delivery.CreatedAt.IsZero() && time.Since(m.Delivery.CreatedAt) > chartLate: // a storm: nobody waits for these
		return fmt.Errorf("it had waited for %s behind other charts", span(time.Since(m.Delivery.CreatedAt)))
	case a.series == nil:
		return errors.New("nobody can be asked for the data of a chart")
	}
	retry := func(err error) error { at.Outcome = oncall.OutcomeRetry; return err }
	select {
	case drawing <- struct{}{}:
		defer func() { <-drawing }()
	case <-ctx.Done():
		return retry(errors.New("other charts are being drawn"))
	}
	pl, ok := newPlot(m.Incident, a.policy(), time.Now())
	if !ok {
		return fmt.Errorf("%w: its expressions only say that something is so", errNothingToDraw)
	}
	asking, cancel := context.WithTimeout(ctx, chartDataTimeout)
	defer cancel()
	c, err := pl.fill(asking, a.series)
	switch {
	case errors.Is(err, errNothingToDraw):
		return err
	case err != nil:
		return retry(fmt.Errorf("the data of the chart: %w", err))
	}
	picture, err := c.PNG()
	if err != nil {
		return err
	}
	id, err := a.upload(ctx, m.Incident.Number, picture, c.Words(), at)
	if err != nil {
		return err
	}
	files, err := json.Marshal([]map[string]string{{"id": id, "title": shorten(c.Title, 200)}})
	if err != nil {
		return err
	}
	e := a.exchange(ctx, "files.completeUploadExternal", url.Values{"files": {string(files)}, "channel_id": {channel}, "thread_ts": {ts},
		"initial_comment": {caption(c)}}, nil)
	if e != nil {
		return failed(at, e)
	}
	at.Status, at.Remote = http.StatusOK, channel+"/"+ts
	return nil
}

// upload hands the picture to Slack, which shows it to nobody yet, and returns its ID.
func (a *Adapter) upload(ctx context.Context, number int64, picture []byte, words string, at *oncall.Attempt) (id string, err error) {
	var where struct {
		URL string `json:"upload_url"`
		ID  string `json:"file_id"`
	}
	e := a.exchange(ctx, "files.getUploadURLExternal", url.Values{"filename": {fmt.Sprintf("incident-%d.png", number)},
		"length": {strconv.Itoa(len(picture))}, "alt_txt": {shorten(clean(words), maxAlt)}}, &where)
	if e != nil {
		if e.outcome == oncall.OutcomeUnknown { // nothing was posted by that
			e.outcome = oncall.OutcomeRetry
		}
		return "", failed(at, e)
	}
	if where.ID == "" || !a.mayAnswer(where.URL) { // the address is what an answer says, and must not make us call anything else
		return "", errors.New("files.getUploadURLExternal: the address for the upload is not Slack's; check slack.api_url")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where.URL, bytes.NewReader(picture))
	if err != nil {
		return "", errors.New("files.getUploadURLExternal: the address for the upload is no URL")
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := a.http.Do(req)
	if err != nil {
		at.Outcome = oncall.OutcomeRetry
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the address, which is as good as a password
		}
		return "", fmt.Errorf("the upload of the chart: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // "OK - 31502": the status says it
	if at.Status = resp.StatusCode; at.Status != http.StatusOK {
		if at.Status >= 500 || at.Status == http.StatusTooManyRequests {
			at.Outcome = oncall.OutcomeRetry
			at.RetryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())
		}
		return "", fmt.Errorf("the upload of the chart: Slack answered %d %s", at.Status, http.StatusText(at.Status))
	}
	return where.ID, nil
}

// failed takes over what became of a call.
func failed(at *oncall.Attempt, e *callError) error {
	at.Outcome, at.Status, at.RetryAfter, at.Excerpt = e.outcome, e.status, e.retryAfter, e.excerpt
	return e
}

// caption stands above the picture, and is all that a notification shows of it. What the picture says besides is its
// alternative text.
func caption(c *chart.Chart) string {
	s := "📈 Chart"
	if now := c.Now(); now != "" {
		s = "📈 " + prose(now, 200)
	}
	if !c.Resolved.IsZero() {
		return s + ", after it was resolved at " + moment(c.Resolved, c.To)
	}
	if f := c.Forecast; f != nil {
		return s + ", *reaches " + prose(c.Unit.Format(f.Level), 30) + "* at " + moment(f.Reach, c.To) + " at this pace"
	}
	return s
}
