package alertmanager

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"strings"
	"sync"

	"github.com/prometheus/alertmanager/notify"
)

// Alertmanager's notifiers answer with an error and a flag. What tocsin has to know beside that, the status, the
// wait that the far end asks for, and whether the request left at all, is seen by a transport that is put
// around the one in the notifier's HTTP client. That client is in a field that is not exported, which is why it
// is looked up by its type. Where a notifier has none (e-mail), the error's text is all there is.

// bounds of what is read of an answer.
const (
	maxAnswer  = 1 << 20
	maxExcerpt = 4 << 10
)

// exchange is what one attempt said to the far end and heard, as far as the tap could see.
type exchange struct {
	mu sync.Mutex // guards heard: the transport's goroutines write it
	heard
}

type heard struct {
	asked   bool     // a request reached the transport
	written bool     // its head was written: the far end may have acted
	status  int      // of the last answer, 0: none
	after   string   // its Retry-After
	body    []byte   // its beginning
	secrets []string // what the request's URL and head hold beside the host
	host    string
}

type exchangeKey struct{}

func withExchange(ctx context.Context, x *exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, x)
}

// tapped is the transport around another.
type tapped struct {
	next  http.RoundTripper
	agent string
	fit   func([]byte) []byte // makes a body fit for the far end; nil: as it is
}

// CloseIdleConnections lets the client close what is below.
func (t *tapped) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip sends the request on, and writes down what comes of it.
func (t *tapped) RoundTrip(req *http.Request) (*http.Response, error) {
	x, _ := req.Context().Value(exchangeKey{}).(*exchange)
	ctx := req.Context()
	if x != nil {
		x.request(req)
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			WroteHeaders: func() { x.mu.Lock(); x.written = true; x.mu.Unlock() },
			WroteHeaderField: func(key string, values []string) {
				if strings.EqualFold(key, "Authorization") || strings.EqualFold(key, "Proxy-Authorization") {
					x.keep(values...)
				}
			},
		})
	}
	out := req.Clone(ctx)
	out.Header.Set("User-Agent", t.agent)
	if err := t.refit(out); err != nil {
		return nil, err
	}
	res, err := t.next.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	res.Body = &boundedBody{Reader: io.LimitReader(res.Body, maxAnswer), Closer: res.Body, x: x}
	if x != nil {
		x.mu.Lock()
		x.status, x.after, x.body = res.StatusCode, res.Header.Get("Retry-After"), nil
		x.mu.Unlock()
	}
	return res, nil
}

// refit replaces a body by one that the far end takes.
func (t *tapped) refit(req *http.Request) error {
	if t.fit == nil || req.Body == nil {
		return nil
	}
	body, err := io.ReadAll(req.Body)
	req.Body.Close()
	if err != nil {
		return err
	}
	body = t.fit(body)
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	return nil
}

func (x *exchange) request(req *http.Request) {
	x.mu.Lock()
	x.asked, x.written, x.status = true, false, 0
	x.host = req.URL.Host
	x.mu.Unlock()
	x.keep(urlSecrets(req.URL)...)
	x.keep(req.Header.Values("Authorization")...)
}

func (x *exchange) keep(secrets ...string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.secrets = append(x.secrets, secrets...)
}

// seen is a copy of what is known by now.
func (x *exchange) seen() heard {
	x.mu.Lock()
	defer x.mu.Unlock()
	return heard{asked: x.asked, written: x.written, status: x.status, after: x.after, host: x.host,
		body: bytes.Clone(x.body), secrets: append([]string(nil), x.secrets...)}
}

// boundedBody is an answer's body, of which the beginning is kept.
type boundedBody struct {
	io.Reader
	io.Closer
	x *exchange
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.x != nil && n > 0 {
		b.x.mu.Lock()
		if room := maxExcerpt - len(b.x.body); room > 0 {
			b.x.body = append(b.x.body, p[:min(n, room)]...)
		}
		b.x.mu.Unlock()
	}
	return n, err
}

// tapInto puts a tap into the integration's HTTP client, if it has one.
func tapInto(i *notify.Integration, agent string) {
	if c := clientOf(i); c != nil {
		t := &tapped{next: c.Transport, agent: agent}
		if t.next == nil {
			t.next = http.DefaultTransport
		}
		if i.Name() == "slack" {
			t.fit = fitSlack
		}
		c.Transport = t
	}
}

// clientOf finds the HTTP client of an integration. nil: it has none, or keeps it elsewhere.
func clientOf(i *notify.Integration) *http.Client {
	n := reflect.ValueOf(i).Elem().FieldByName("notifier")
	for range 4 { // *slack.Notifier, and for Telegram the bot within
		for n.Kind() == reflect.Interface || n.Kind() == reflect.Pointer {
			if n.IsNil() {
				return nil
			}
			if n.Type() == reflect.TypeFor[*http.Client]() {
				return (*http.Client)(n.UnsafePointer())
			}
			n = n.Elem()
		}
		if n.Kind() != reflect.Struct {
			return nil
		}
		if n = n.FieldByName("client"); !n.IsValid() {
			return nil
		}
	}
	return nil
}
