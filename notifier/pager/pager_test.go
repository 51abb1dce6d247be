package pager_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	promconfig "github.com/prometheus/common/config"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"tocsin/notifier"
	"tocsin/notifier/pager"
	"tocsin/notifier/pager/pagertest"
	"tocsin/notifier/sendertest"
	"tocsin/oncall"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	another = "whsec_bmV3ZXIgc2VjcmV0IG5ld2VyIHNlY3JldCE="
	ackLink = "https://tocsin.example/hooks/ack/eyJhbGciOiJub25lIn0.c2lnbmF0dXJl"
)

var endpoint = oncall.PageEndpoint("ana-phone", 0)

// page is the smallest payload that the schema allows.
func page(number int64) []byte {
	return fmt.Appendf(nil, `{"type":"incident.triggered","timestamp":"2026-03-01T10:00:00Z","version":"1","data":{"number":%d,"key":"inc-%d",
"state":"triggered","title":"Session memory at 82%%","severity":"critical","escalation":"session-oncall","why":"named by the rule",
"labels":{},"group_labels":{"service":"session"},"triggered_at":"2026-03-01T10:00:00Z","round":0,"tier":0,"alerts_firing":1,
"alerts_total":1,"alerts":[],"timeline":[],"deliveries":[],"page":{"tier":0,"round":0,"target":"user ana","ack_url":%q}}}`,
		number, number, ackLink)
}

func message(key string) notifier.Message {
	return notifier.Message{Delivery: oncall.Delivery{
		Key: key, Incident: 42, Endpoint: endpoint, Kind: oncall.KindTriggered, Attempts: 1, Body: page(42),
	}}
}

// newPager makes a pager for one endpoint at rawURL, closed at the end of the test.
func newPager(t *testing.T, rawURL string, change func(*pager.Config), transport http.RoundTripper) *pager.Pager {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	c := pager.Config{URL: u, Secrets: []string{secret}, HTTP: promconfig.DefaultHTTPClientConfig}
	if change != nil {
		change(&c)
	}
	p, err := pager.New(map[oncall.Endpoint]pager.Config{endpoint: c}, pager.Options{Version: "test", Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func listen(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestConformance(t *testing.T) {
	sendertest.Run(t, func(t *testing.T) sendertest.Harness {
		far := pagertest.New(secret)
		front := sendertest.NewFront(far)
		base := listen(t, front)
		t.Cleanup(func() {
			for _, problem := range far.Problems() {
				t.Error(problem)
			}
		})
		u := strings.Replace(base, "http://", "http://gate:pass-word@", 1) + "/hidden-path?token=query-token"
		return sendertest.Harness{
			Sender: newPager(t, u, func(c *pager.Config) { c.Secrets = []string{secret, another} }, nil),
			Behave: func(b sendertest.Behaviour) {
				fault := map[sendertest.Behaviour]pagertest.Fault{
					sendertest.Refuse:  pagertest.NotFound,
					sendertest.Busy:    pagertest.Busy,
					sendertest.Limited: pagertest.Limited(sendertest.RetryAfter),
					sendertest.Garbage: pagertest.Error,
					sendertest.Reset:   pagertest.ResetAfter,
					sendertest.Hang:    pagertest.HangAfter,
					sendertest.Echo:    {Status: http.StatusBadRequest, Echo: true},
				}[b]
				far.FailWith(func(pagertest.Page) pagertest.Fault { return fault })
			},
			Front:    front,
			Message:  message,
			Recorded: func() []string { return keysOf(far.Pages()) },
			Arrived:  far.Arrived(),
			Secrets: []string{secret, strings.TrimPrefix(secret, "whsec_"), strings.TrimPrefix(another, "whsec_"),
				"pass-word", "query-token", "hidden-path", "Z2F0ZTpwYXNzLXdvcmQ", "c2lnbmF0dXJl"},
		}
	})
}

func keysOf(pages []pagertest.Page) []string {
	keys := make([]string, len(pages))
	for i, p := range pages {
		keys[i] = p.Key
	}
	return keys
}

// capture is a transport that keeps the last request and answers 204.
type capture struct{ last *http.Request }

func (c *capture) RoundTrip(r *http.Request) (*http.Response, error) {
	c.last = r
	return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody, Header: http.Header{}}, nil
}

func TestSignatureOfTheSpecification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.Unix(1614265330, 0)
		time.Sleep(time.Until(at)) // the bubble's clock starts in 2000
		var c capture
		p := newPager(t, "http://pager.invalid/x", func(c *pager.Config) { c.Secrets = []string{secret, another} }, &c)
		m := message("msg_p5jXN8AQM9LWM0D4loKWxJek")
		m.Delivery.Body = []byte(`{"test": 2432232314}`)
		if a := p.Send(t.Context(), m); a.Outcome != oncall.OutcomeDelivered {
			t.Fatalf("%+v", a)
		}
		h := c.last.Header
		first, second, _ := strings.Cut(h.Get("webhook-signature"), " ")
		if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; first != want {
			t.Errorf("signature %q, the specification's vector is %q", first, want)
		}
		if !strings.HasPrefix(second, "v1,") || second == first {
			t.Errorf("the second secret does not sign: %q", second)
		}
		if h.Get("webhook-timestamp") != "1614265330" || h.Get("webhook-id") != m.Delivery.Key || h.Get("User-Agent") != "tocsin/test" {
			t.Errorf("headers %v", h)
		}
		for _, s := range []string{secret, another} { // as a receiver with the public library would
			w, err := standardwebhooks.NewWebhook(s)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Verify(m.Delivery.Body, h); err != nil {
				t.Errorf("a receiver with one of the secrets: %v", err)
			}
		}
	})
}

// TestRotation replaces a secret: at every moment the receiver, which knows one of them, takes the page.
func TestRotation(t *testing.T) {
	takes := func(signed []string, knows string) bool {
		var c capture
		p := newPager(t, "http://pager.invalid/x", func(c *pager.Config) { c.Secrets = signed }, &c)
		m := message("msg_a")
		if a := p.Send(t.Context(), m); a.Outcome != oncall.OutcomeDelivered {
			t.Fatalf("%+v", a)
		}
		w, err := standardwebhooks.NewWebhook(knows)
		if err != nil {
			t.Fatal(err)
		}
		return w.Verify(m.Delivery.Body, c.last.Header) == nil
	}
	const old, next = secret, another
	for i, step := range []struct {
		signed []string
		knows  string
		taken  bool
	}{
		{[]string{old}, old, true}, {[]string{next, old}, old, true}, {[]string{next, old}, next, true}, {[]string{next}, next, true},
		{[]string{next}, old, false}, // the old one has no say any more
	} {
		if got := takes(step.signed, step.knows); got != step.taken {
			t.Errorf("step %d: taken %v, want %v", i+1, got, step.taken)
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		status  int
		header  http.Header
		outcome oncall.Outcome
		after   time.Duration
		say     string
	}{
		{status: 200, outcome: oncall.OutcomeDelivered},
		{status: 202, outcome: oncall.OutcomeDelivered},
		{status: 301, outcome: oncall.OutcomeRefused, say: "redirects are not followed"},
		{status: 304, outcome: oncall.OutcomeRefused, say: "redirects are not followed"},
		{status: 307, header: http.Header{"Location": {"/again"}}, outcome: oncall.OutcomeRefused, say: "307"},
		{status: 400, outcome: oncall.OutcomeRefused, say: "400 Bad Request"},
		{status: 404, outcome: oncall.OutcomeRefused, say: "404 Not Found"},
		{status: 408, outcome: oncall.OutcomeRetry, say: "408"},
		{status: 410, outcome: oncall.OutcomeGone, say: "until the next reload"},
		{status: 425, outcome: oncall.OutcomeRetry, say: "425"},
		{status: 429, header: http.Header{"Retry-After": {"120"}}, outcome: oncall.OutcomeRetry, after: 2 * time.Minute, say: "429"},
		{status: 429, header: http.Header{"Retry-After": {"Sat, 01 Jan 2000 00:00:30 GMT"}}, outcome: oncall.OutcomeRetry, after: 30 * time.Second},
		{status: 429, header: http.Header{"Retry-After": {"Fri, 31 Dec 1999 23:00:00 GMT"}}, outcome: oncall.OutcomeRetry},
		{status: 429, header: http.Header{"Retry-After": {"-5"}}, outcome: oncall.OutcomeRetry},
		{status: 429, header: http.Header{"Retry-After": {"soon"}}, outcome: oncall.OutcomeRetry},
		{status: 503, header: http.Header{"Retry-After": {"99999999999999"}}, outcome: oncall.OutcomeRetry, after: time.Hour},
		{status: 500, outcome: oncall.OutcomeRetry, say: "500 Internal Server Error"},
		{status: 599, outcome: oncall.OutcomeRetry, say: "599"},
	} {
		t.Run(fmt.Sprint(c.status, c.header), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // its clock stands at 2000-01-01
				far := pagertest.New(secret)
				p := newPager(t, "http://pager.invalid/x", nil, far)
				far.Fail(pagertest.Fault{Status: c.status, Header: c.header, Body: "because"})
				a := p.Send(t.Context(), message("msg_a"))
				if a.Outcome != c.outcome || a.RetryAfter != c.after || a.Status != c.status || !strings.Contains(a.Error, c.say) {
					t.Errorf("got %+v, want %s after %s saying %q", a, c.outcome, c.after, c.say)
				}
				if a.Excerpt != "because" || a.Number != 1 {
					t.Errorf("excerpt %q, number %d", a.Excerpt, a.Number)
				}
				if far.Requests() != 1 {
					t.Errorf("%d requests for one attempt", far.Requests())
				}
			})
		})
	}
}

func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := pagertest.New(secret)
		p := newPager(t, "http://pager.invalid/x", func(c *pager.Config) { c.Timeout = 3 * time.Second }, far)
		far.Fail(pagertest.HangAfter)
		a := p.Send(t.Context(), message("msg_a"))
		if a.Outcome != oncall.OutcomeUnknown || a.Took != 3*time.Second || !strings.Contains(a.Error, "no answer from pager.invalid within 3s") {
			t.Errorf("%+v", a)
		}
	})
}

func TestAnAnswerThatTricklesIsCutOff(t *testing.T) {
	base := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_, _ = fmt.Fprint(w, strings.Repeat("\x07é ", 150))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	a := newPager(t, base, nil, nil).Send(t.Context(), message("msg_a"))
	if a.Outcome != oncall.OutcomeDelivered {
		t.Errorf("the status was said, so the page was delivered: %+v", a)
	}
	if want := strings.TrimSpace(strings.Repeat("é ", 100)); a.Excerpt != want {
		t.Errorf("excerpt %q", a.Excerpt)
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := "http://gate:pass-word@" + l.Addr().String() + "/hidden-path"
	_ = l.Close()
	a := newPager(t, u, nil, nil).Send(t.Context(), message("msg_a"))
	if a.Outcome != oncall.OutcomeRetry || !strings.Contains(a.Error, "could not reach 127.0.0.1") {
		t.Errorf("%+v", a)
	}
	if strings.Contains(a.Error, "pass-word") || strings.Contains(a.Error, "hidden") {
		t.Errorf("the error shows the URL: %s", a.Error)
	}
}

func TestAStrangersCertificateIsNotTrusted(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.StartTLS()
	t.Cleanup(s.Close)
	a := newPager(t, s.URL, nil, nil).Send(t.Context(), message("msg_a"))
	if a.Outcome != oncall.OutcomeRetry || !strings.Contains(a.Error, "certificate") {
		t.Errorf("%+v", a)
	}
}

func TestAnEndpointThatIsGoneFromTheConfiguration(t *testing.T) {
	m := message("msg_a")
	m.Delivery.Endpoint = oncall.PageEndpoint("bo-phone", 1)
	a := newPager(t, "http://pager.invalid/x", nil, &capture{}).Send(context.Background(), m)
	if a.Outcome != oncall.OutcomeRefused || !strings.Contains(a.Error, "page:bo-phone/1") {
		t.Errorf("%+v", a)
	}
}

func TestNewRefuses(t *testing.T) {
	u := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for name, c := range map[string]struct {
		config pager.Config
		say    string
	}{
		"no URL":        {pager.Config{Secrets: []string{secret}}, "must be http or https"},
		"file URL":      {pager.Config{URL: u("file:///etc/passwd"), Secrets: []string{secret}}, "must be http or https"},
		"no secret":     {pager.Config{URL: u("http://x.invalid")}, "must be signed"},
		"empty secret":  {pager.Config{URL: u("http://x.invalid"), Secrets: []string{"whsec_"}}, "secret 1 is no base64"},
		"broken secret": {pager.Config{URL: u("http://x.invalid"), Secrets: []string{secret, "whsec_%%pss%%"}}, "secret 2 is no base64"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pager.New(map[oncall.Endpoint]pager.Config{endpoint: c.config}, pager.Options{})
			if err == nil || !strings.Contains(err.Error(), c.say) || !strings.Contains(err.Error(), "page:ana-phone/0") {
				t.Fatalf("error %v, want it to name the endpoint and say %q", err, c.say)
			}
			if strings.Contains(err.Error(), "pss") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}
