// Package prometheus asks any server that speaks Prometheus' query API. It turns one expression and one
// instant into samples or into an error that says whose fault it is; what follows from an answer is
// decided in the packages evaluator and oncall.
//
// Start reading at Client.Query; the answer's form is in decode.go.
package prometheus

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
	wire     *wire        // nil: by http
	http     *http.Client // nil: by wire
	endpoint string       // with userinfo, if the configuration has some: never shown
	shown    string       // the server for error messages, without credentials
	timeout  time.Duration
	headers  [][2]string
	gzip     string // one of the Compressions
	// Range queries go by net/http in any case, over connections that no rule waits for; see range.go.
	dial      dialFunc
	rangeOnce sync.Once // guards the two below
	rangeHTTP *http.Client
	rangeErr  error
	far       atomic.Bool // the server was last reached at an address that is neither loopback nor private
}

var _ evaluator.Reuser = (*Client)(nil)

// Option changes how a Client is made.
type Option func(*options)

type options struct {
	transport http.RoundTripper
	netHTTP   bool
	dial      dialFunc
}

// WithTransport sends requests through rt instead of the network; the HTTP client settings of the
// configuration are then not used.
func WithTransport(rt http.RoundTripper) Option { return func(o *options) { o.transport = rt } }

// New makes a client. The error is about the HTTP client settings, such as a file that cannot be read.
func New(cfg Config, opts ...Option) (*Client, error) {
	o := options{dial: (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext}
	for _, opt := range opts {
		opt(&o)
	}
	if cfg.URL == nil {
		return nil, errors.New("prometheus: no url")
	}
	c := &Client{timeout: cfg.Timeout, gzip: cfg.Compression, headers: [][2]string{
		{"User-Agent", "tocsin"}, {"Content-Type", "application/x-www-form-urlencoded"}, {"Accept", "application/json"}}}
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Headers)) {
		c.headers = append(c.headers, [2]string{name, cfg.Headers[name]})
	}
	u := *cfg.URL
	u.Path = strings.TrimSuffix(u.Path, "/") + "/api/v1/query"
	c.endpoint = u.String()
	shown := *cfg.URL
	shown.User, shown.RawQuery, shown.Fragment = nil, "", ""
	c.shown = shown.String()
	if o.transport == nil && !o.netHTTP && plainHTTP(cfg) {
		c.dial = c.watched(o.dial)
		c.wire = newWire(&u, c.dial)
		return c, nil
	}
	return c, c.useNetHTTP(cfg, o)
}

// plainHTTP reports that nothing is configured but an address: the case that package wire is for.
func plainHTTP(cfg Config) bool {
	h := cfg.HTTP
	h.FollowRedirects, h.EnableHTTP2 = false, false // neither matters: redirects are not followed
	return cfg.URL.Scheme == "http" && cfg.URL.User == nil && reflect.DeepEqual(h, promconfig.HTTPClientConfig{})
}

func (c *Client) useNetHTTP(cfg Config, o options) error {
	c.http = &http.Client{Transport: o.transport}
	if o.transport == nil {
		var err error
		c.http, err = promconfig.NewClientFromConfig(cfg.HTTP, "prometheus", promconfig.WithUserAgent("tocsin"), promconfig.WithDialContextFunc(promconfig.DialContextFunc(c.watched(o.dial))))
		if err != nil {
			return fmt.Errorf("prometheus: %w", err)
		}
	}
	// A redirect would turn the POST into a GET without its form, or carry credentials elsewhere.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return nil
}

// watched is dial, and notes how far away the server is.
func (c *Client) watched(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
			c.far.Store(!a.IP.IsLoopback() && !a.IP.IsPrivate() && !a.IP.IsLinkLocalUnicast())
		}
		return conn, nil
	}
}

// Close releases idle connections.
func (c *Client) Close() {
	if c.wire != nil {
		c.wire.close()
		c.closeRanges()
		return
	}
	c.http.CloseIdleConnections()
}

// Query evaluates expr at the instant at. Errors are *evaluator.QueryError.
func (c *Client) Query(ctx context.Context, expr string, at time.Time) (evaluator.Answer, error) {
	return c.QueryInto(ctx, expr, at, nil)
}

// QueryInto is Query for an expression that is asked again and again; see evaluator.Reuser.
func (c *Client) QueryInto(ctx context.Context, expr string, at time.Time, r *evaluator.Reuse) (evaluator.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	res, err := c.post(ctx, form(ctx, expr, at))
	if err != nil {
		return evaluator.Answer{}, c.transportError(ctx, err)
	}
	defer res.release()
	ans, err := c.read(res, r)
	if err != nil && ctx.Err() != nil {
		return evaluator.Answer{}, c.transportError(ctx, ctx.Err())
	}
	return ans, err
}

// form is the body of a query.
func form(ctx context.Context, expr string, at time.Time) []byte {
	b := append(make([]byte, 0, len(expr)+len(expr)/2+64), "query="...)
	b = append(b, url.QueryEscape(expr)...)
	b = append(b, "&time="...)
	b = appendTime(b, at)
	if deadline, ok := ctx.Deadline(); ok {
		b = append(b, "&timeout="...)
		b = strconv.AppendInt(b, max(time.Until(deadline).Milliseconds(), 1), 10)
		b = append(b, "ms"...)
	}
	return b
}

// encoding is what is asked for. Compressing costs a server more than all else that a query costs it, and saves
// nothing where the network costs nothing.
func (c *Client) encoding() string {
	if c.gzip == CompressionOn || c.gzip != CompressionOff && c.far.Load() {
		return "gzip"
	}
	return "identity"
}

// response is an answer before it is read. release must be called.
type response struct {
	status                          int
	contentType, encoding, location string
	body                            io.Reader
	release                         func()
}

func (c *Client) post(ctx context.Context, body []byte) (*response, error) {
	header := c.header(evaluator.HeadersFrom(ctx))
	if c.wire != nil {
		return c.wire.post(ctx, header, body)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for _, h := range header {
		req.Header.Set(h[0], h[1])
	}
	// A query changes nothing, so net/http may ask again where a kept connection turns out to be dead. Without
	// a value this is not sent.
	req.Header["Idempotency-Key"] = nil
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	h := resp.Header
	return &response{status: resp.StatusCode, contentType: h.Get("Content-Type"), encoding: h.Get("Content-Encoding"),
		location: h.Get("Location"), body: resp.Body, release: func() { drain(resp.Body) }}, nil
}

// header returns the headers of one query: the client's, and over them those of the group that asks.
func (c *Client) header(group map[string]string) [][2]string {
	all := make([][2]string, 0, len(c.headers)+len(group)+1)
	all = append(all, [2]string{"Accept-Encoding", c.encoding()})
	over := func(name string) bool {
		for g := range group {
			if strings.EqualFold(g, name) {
				return true
			}
		}
		return false
	}
	for _, h := range c.headers {
		if !over(h[0]) {
			all = append(all, h)
		}
	}
	for name, value := range group {
		all = append(all, [2]string{name, value})
	}
	return all
}

// drain reads what little may be left, so that the connection can be used again.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 4<<10)
	_ = body.Close()
}

// appendTime writes an instant as Prometheus reads it, in seconds with milliseconds.
func appendTime(b []byte, t time.Time) []byte {
	return strconv.AppendFloat(b, float64(t.UnixMilli())/1000, 'f', 3, 64)
}

// read turns a response into an answer or an error.
func (c *Client) read(res *response, r *evaluator.Reuse) (evaluator.Answer, error) {
	if res.status >= 300 && res.status < 400 {
		return evaluator.Answer{}, c.backendError("redirects (%d) %s: set prometheus.url to the final address", res.status, c.target(res.location))
	}
	body := &bounded{r: res.body, left: MaxBytes}
	var in io.Reader = body
	var packed *bounded
	switch res.encoding {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return evaluator.Answer{}, c.backendError("sent an answer that is not the gzip that it says it is: %s", short(plain(err).Error()))
		}
		packed, body = body, &bounded{r: z, left: MaxBytes}
		in = body
	default:
		return evaluator.Answer{}, c.backendError("answered with Content-Encoding %s, which was not asked for", short(res.encoding))
	}
	if kind := mediaType(res.contentType); kind != "" && kind != "application/json" {
		return evaluator.Answer{}, c.notJSON(res.status, kind, in)
	}
	ans, err := scan(in, r)
	if body.exceeded || packed != nil && packed.exceeded {
		err = &evaluator.QueryError{Kind: evaluator.RuleError, Message: fmt.Sprintf("the answer is larger than %d MiB", MaxBytes>>20)}
	}
	var api *apiError
	switch {
	case errors.As(err, &api):
		return evaluator.Answer{}, c.classify(res.status, api)
	case err == nil && res.status/100 == 2:
		return ans, nil
	case res.status/100 != 2:
		return evaluator.Answer{}, c.backendError("answered %d %s", res.status, http.StatusText(res.status))
	}
	if q, ok := errors.AsType[*evaluator.QueryError](err); ok {
		return evaluator.Answer{}, q
	}
	return evaluator.Answer{}, c.backendError("sent an answer that is not Prometheus' JSON: %s", short(err.Error()))
}

// target words where a redirect leads.
func (c *Client) target(location string) string {
	base, err := url.Parse(c.endpoint)
	if err != nil || location == "" {
		return "elsewhere"
	}
	u, err := base.Parse(location)
	if err != nil {
		return "elsewhere"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return "to " + strings.TrimSuffix(u.String(), "/api/v1/query")
}

func mediaType(s string) string {
	if s == "application/json" {
		return s // nearly always
	}
	kind, _, err := mime.ParseMediaType(s)
	if err != nil {
		return ""
	}
	return kind
}

// notJSON reports an error page, a login form or the like.
func (c *Client) notJSON(status int, kind string, body io.Reader) error {
	start, _ := io.ReadAll(io.LimitReader(body, 4*excerptBytes))
	return c.backendError("answered %d with %s instead of JSON: %s", status, kind, short(string(start)))
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
