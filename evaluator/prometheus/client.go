// Package prometheus asks any server that speaks Prometheus' query API. It turns one expression and one
// instant into samples or into an error that says whose fault it is; what follows from an answer is
// decided in the packages evaluator and oncall.
//
// Start reading at Client.Query; the answer's form is in decode.go.
package prometheus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"

	"tocsin/evaluator"
)

const (
	// MaxBytes bounds an answer.
	MaxBytes = 64 << 20
	// MaxSeries bounds the samples of an answer: more is an error of the rule.
	MaxSeries = 50_000
	// excerptBytes is how much of an answer that is no answer is shown.
	excerptBytes = 120
)

// Client asks one server. It is safe for concurrent use; Close it after the last query.
type Client struct {
	http     *http.Client
	endpoint string // with userinfo, if the configuration has some: never shown
	shown    string // the server for error messages, without credentials
	timeout  time.Duration
	headers  map[string]string
}

var _ evaluator.Reuser = (*Client)(nil)

// Option changes how a Client is made.
type Option func(*options)

type options struct{ transport http.RoundTripper }

// WithTransport sends requests through rt instead of the network; the HTTP client settings of the
// configuration are then not used.
func WithTransport(rt http.RoundTripper) Option { return func(o *options) { o.transport = rt } }

// New makes a client. The error is about the HTTP client settings, such as a file that cannot be read.
func New(cfg Config, opts ...Option) (*Client, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if cfg.URL == nil {
		return nil, errors.New("prometheus: no url")
	}
	c := &Client{timeout: cfg.Timeout, headers: cfg.Headers}
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	if o.transport != nil {
		c.http = &http.Client{Transport: o.transport}
	} else {
		var err error
		c.http, err = promconfig.NewClientFromConfig(cfg.HTTP, "prometheus", promconfig.WithUserAgent("tocsin"))
		if err != nil {
			return nil, fmt.Errorf("prometheus: %w", err)
		}
	}
	// A redirect would turn the POST into a GET without its form, or carry credentials elsewhere.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	u := *cfg.URL
	u.Path = strings.TrimSuffix(u.Path, "/") + "/api/v1/query"
	c.endpoint = u.String()
	u = *cfg.URL
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	c.shown = u.String()
	return c, nil
}

// Close releases idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Query evaluates expr at the instant at. Errors are *evaluator.QueryError.
func (c *Client) Query(ctx context.Context, expr string, at time.Time) (evaluator.Answer, error) {
	return c.QueryInto(ctx, expr, at, nil)
}

// QueryInto is Query for an expression that is asked again and again; see evaluator.Reuser.
func (c *Client) QueryInto(ctx context.Context, expr string, at time.Time, r *evaluator.Reuse) (evaluator.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	form := url.Values{"query": {expr}, "time": {formatTime(at)}}
	if deadline, ok := ctx.Deadline(); ok {
		form.Set("timeout", strconv.FormatInt(max(time.Until(deadline).Milliseconds(), 1), 10)+"ms")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return evaluator.Answer{}, c.transportError(ctx, err)
	}
	for name, value := range c.headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// Compression costs the server more than half of what a query costs it.
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := c.http.Do(req)
	if err != nil {
		return evaluator.Answer{}, c.transportError(ctx, err)
	}
	defer drain(resp.Body)
	ans, err := c.read(resp, r)
	if err != nil && ctx.Err() != nil {
		return evaluator.Answer{}, c.transportError(ctx, ctx.Err())
	}
	return ans, err
}

// drain reads what little may be left, so that the connection can be used again.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 4<<10)
	_ = body.Close()
}

// formatTime writes an instant as Prometheus reads it, in seconds with milliseconds.
func formatTime(t time.Time) string {
	ms := t.UnixMilli()
	return fmt.Sprintf("%d.%03d", ms/1000, ms%1000)
}

// read turns a response into an answer or an error.
func (c *Client) read(resp *http.Response, r *evaluator.Reuse) (evaluator.Answer, error) {
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		to := "elsewhere"
		if u, err := resp.Location(); err == nil {
			u.User, u.RawQuery = nil, ""
			to = "to " + strings.TrimSuffix(u.String(), "/api/v1/query")
		}
		return evaluator.Answer{}, c.backendError("redirects (%d) %s: set prometheus.url to the final address", resp.StatusCode, to)
	}
	body := &bounded{r: resp.Body, left: MaxBytes}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return evaluator.Answer{}, c.backendError("answered with Content-Encoding %s although identity was asked for", short(enc))
	}
	if kind := contentType(resp); kind != "" && kind != "application/json" {
		return evaluator.Answer{}, c.notJSON(resp, kind, body)
	}
	ans, err := scan(body, r)
	if body.exceeded {
		err = &evaluator.QueryError{Kind: evaluator.RuleError, Message: fmt.Sprintf("the answer is larger than %d MiB", MaxBytes>>20)}
	}
	var api *apiError
	switch {
	case errors.As(err, &api):
		return evaluator.Answer{}, c.classify(resp.StatusCode, api)
	case err == nil && resp.StatusCode/100 == 2:
		return ans, nil
	case resp.StatusCode/100 != 2:
		return evaluator.Answer{}, c.backendError("answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	if q, ok := errors.AsType[*evaluator.QueryError](err); ok {
		return evaluator.Answer{}, q
	}
	return evaluator.Answer{}, c.backendError("sent an answer that is not Prometheus' JSON: %s", short(err.Error()))
}

func contentType(resp *http.Response) string {
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return kind
}

// notJSON reports an error page, a login form or the like.
func (c *Client) notJSON(resp *http.Response, kind string, body io.Reader) error {
	start, _ := io.ReadAll(io.LimitReader(body, 4*excerptBytes))
	return c.backendError("answered %d with %s instead of JSON: %s", resp.StatusCode, kind, short(string(start)))
}

// classify decides whose fault an error is that the server itself explains.
func (c *Client) classify(status int, api *apiError) error {
	switch api.Type {
	case "bad_data", "execution":
		return &evaluator.QueryError{Kind: evaluator.RuleError, Message: short(api.Type + ": " + api.Message), Cause: api}
	case "":
		if status == http.StatusBadRequest || status == http.StatusUnprocessableEntity {
			return &evaluator.QueryError{Kind: evaluator.RuleError, Message: short(api.Message), Cause: api}
		}
	}
	return c.backendError("answered %d: %s", status, short(strings.TrimPrefix(api.Type+": "+api.Message, ": ")))
}

func (c *Client) backendError(format string, args ...any) error {
	return &evaluator.QueryError{Kind: evaluator.BackendError, Message: c.shown + " " + fmt.Sprintf(format, args...)}
}

// transportError words an error of the network: without the URL, which may hold credentials, and without
// what differs each time, such as our own port.
func (c *Client) transportError(ctx context.Context, err error) error {
	q := &evaluator.QueryError{Kind: evaluator.BackendError, Cause: causeOf(err)}
	switch {
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		q.Message, q.Cause = c.shown+" did not answer in time", context.DeadlineExceeded
	case ctx.Err() != nil:
		q.Message, q.Cause = "the query was broken off", ctx.Err()
	default:
		q.Message = c.shown + " cannot be reached: " + short(q.Cause.Error())
	}
	return q
}

// causeOf strips what names URLs and local addresses.
func causeOf(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		err = op.Err
	}
	return err
}

// short makes text from outside fit for one line of an error message.
func short(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "�"), func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	if len(s) <= 3*excerptBytes {
		return s
	}
	cut := 3 * excerptBytes
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}

// bounded reads at most left bytes; one more is an error that exceeded tells apart.
type bounded struct {
	r        io.Reader
	left     int64
	exceeded bool
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.exceeded = true
		return 0, errors.New("the answer is too large")
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}
