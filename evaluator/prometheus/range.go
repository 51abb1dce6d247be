package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/labels"

	"tocsin/evaluator"
)

// Bounds of an answer to QueryRange: it is for pictures.
const (
	MaxRangePoints = 1000 // of a series
	MaxRangeSeries = 200
	maxRangeBytes  = 8 << 20
)

// Range is what QueryRange asks: the values of an expression at From, From+Step, … up to To.
type Range struct {
	Expr     string
	From, To time.Time
	Step     time.Duration // at least a second
}

// RangeSeries is one label set of the answer, oldest value first. NaN and the infinities are as they were answered.
type RangeSeries struct {
	Labels labels.Labels
	Times  []time.Time
	Values []float64
}

// ErrTooManySeries is the cause of an error of QueryRange about an answer that is beyond its bounds: a narrower
// expression may be answered.
var ErrTooManySeries = errors.New("too many series for a picture")

// QueryRange evaluates an expression over a span of time. Unlike Query it is no part of evaluating rules: it has
// connections of its own, and bounds that fit a picture. The client's timeout holds, or an earlier deadline of ctx.
// Errors are *evaluator.QueryError.
func (c *Client) QueryRange(ctx context.Context, q Range) ([]RangeSeries, error) {
	if q.Step < time.Second || q.To.Before(q.From) || q.To.Sub(q.From)/q.Step >= MaxRangePoints {
		return nil, &evaluator.QueryError{Kind: evaluator.RuleError, Message: fmt.Sprintf("a range of %s in steps of %s has more than %d points, or none", q.To.Sub(q.From), q.Step, MaxRangePoints)}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	body := "query=" + url.QueryEscape(q.Expr) + "&start=" + string(appendTime(nil, q.From)) + "&end=" + string(appendTime(nil, q.To)) +
		"&step=" + strconv.FormatInt(int64(q.Step/time.Second), 10) + "&limit=" + strconv.Itoa(MaxRangeSeries+1)
	if deadline, ok := ctx.Deadline(); ok {
		body += "&timeout=" + strconv.FormatInt(max(time.Until(deadline).Milliseconds(), 1), 10) + "ms"
	}
	client, err := c.ranges()
	if err != nil {
		return nil, &evaluator.QueryError{Kind: evaluator.BackendError, Message: short(err.Error())}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint+"_range", strings.NewReader(body))
	if err != nil {
		return nil, c.transportError(ctx, err)
	}
	for _, h := range c.header(evaluator.HeadersFrom(ctx)) {
		if h[0] != "Accept-Encoding" { // net/http unpacks what it asked for itself
			req.Header.Set(h[0], h[1])
		}
	}
	if c.gzip == CompressionOff {
		req.Header.Set("Accept-Encoding", "identity")
	}
	req.Header["Idempotency-Key"] = nil
	resp, err := client.Do(req)
	if err != nil {
		return nil, c.transportError(ctx, err)
	}
	defer drain(resp.Body)
	out, err := c.readRange(resp)
	if err != nil && ctx.Err() != nil {
		return nil, c.transportError(ctx, ctx.Err())
	}
	return out, err
}

// ranges is the client of range queries, made with the first.
func (c *Client) ranges() (*http.Client, error) {
	if c.wire == nil {
		return c.http, nil
	}
	c.rangeOnce.Do(func() {
		c.rangeHTTP, c.rangeErr = promconfig.NewClientFromConfig(promconfig.HTTPClientConfig{}, "prometheus_range",
			promconfig.WithUserAgent("tocsin"), promconfig.WithDialContextFunc(promconfig.DialContextFunc(c.dial)))
		if c.rangeErr == nil {
			c.rangeHTTP.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		}
	})
	return c.rangeHTTP, c.rangeErr
}

func (c *Client) closeRanges() {
	c.rangeOnce.Do(func() { c.rangeErr = errors.New("the client is closed") })
	if c.rangeHTTP != nil {
		c.rangeHTTP.CloseIdleConnections()
	}
}

// rangeAnswer is Prometheus' JSON.
type rangeAnswer struct {
	Status    string `json:"status"`
	ErrorType string `json:"errorType"`
	Error     string `json:"error"`
	Data      struct {
		ResultType string `json:"resultType"`
		Result     []struct {
			Metric map[string]string    `json:"metric"`
			Values [][2]json.RawMessage `json:"values"`
		} `json:"result"`
	} `json:"data"`
}

func (c *Client) readRange(resp *http.Response) ([]RangeSeries, error) {
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return nil, c.backendError("redirects (%d): set prometheus.url to the final address", resp.StatusCode)
	}
	body := &bounded{r: resp.Body, left: maxRangeBytes}
	if kind := mediaType(resp.Header.Get("Content-Type")); kind != "" && kind != "application/json" {
		return nil, c.notJSON(resp.StatusCode, kind, body)
	}
	raw, err := io.ReadAll(body)
	if body.exceeded {
		return nil, tooMany(fmt.Sprintf("the answer is larger than %d MiB", maxRangeBytes>>20))
	}
	var a rangeAnswer
	if err == nil {
		err = json.Unmarshal(raw, &a)
	}
	switch {
	case a.Status == "error" || err == nil && resp.StatusCode/100 != 2 && a.Error != "":
		return nil, c.classify(resp.StatusCode, &apiError{Type: a.ErrorType, Message: a.Error})
	case resp.StatusCode/100 != 2:
		return nil, c.backendError("answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	case err != nil:
		return nil, c.backendError("sent an answer that is not Prometheus' JSON: %s", short(err.Error()))
	case a.Status != "success" || a.Data.ResultType != "matrix":
		return nil, c.backendError("sent an answer of type %q instead of a matrix", short(a.Data.ResultType))
	case len(a.Data.Result) > MaxRangeSeries:
		return nil, tooMany(fmt.Sprintf("the answer has more than %d series", MaxRangeSeries))
	}
	out := make([]RangeSeries, 0, len(a.Data.Result))
	for _, r := range a.Data.Result {
		s := RangeSeries{Labels: labels.FromMap(r.Metric)}
		for _, v := range r.Values {
			at, value, ok := pair(v)
			if !ok {
				return nil, c.backendError("sent a value that is none: %s", short(string(v[0])+" "+string(v[1])))
			}
			if len(s.Times) >= MaxRangePoints {
				return nil, tooMany(fmt.Sprintf("a series has more than %d points", MaxRangePoints))
			}
			s.Times, s.Values = append(s.Times, at), append(s.Values, value)
		}
		if len(s.Times) > 0 { // a series of histograms alone has no values
			out = append(out, s)
		}
	}
	return out, nil
}

func tooMany(message string) error {
	return &evaluator.QueryError{Kind: evaluator.RuleError, Message: message, Cause: ErrTooManySeries}
}

// pair reads [1727096400.123, "0.83"].
func pair(v [2]json.RawMessage) (at time.Time, value float64, ok bool) {
	var text string
	seconds, err := strconv.ParseFloat(string(v[0]), 64)
	if err != nil || math.Abs(seconds) > 1e12 || json.Unmarshal(v[1], &text) != nil {
		return at, 0, false
	}
	value, err = strconv.ParseFloat(text, 64)
	return time.UnixMilli(int64(math.Round(seconds * 1000))).UTC(), value, err == nil
}
