package outgoing

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestKindOfAddresses(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1": "loopback", "127.255.1.2": "loopback", "::1": "loopback", "::ffff:127.0.0.1": "loopback", "0.0.0.0": "unspecified", "::": "unspecified",
		"10.1.2.3": "private", "172.16.0.1": "private", "172.31.255.255": "private", "192.168.1.1": "private", "fd12::1": "private", "::ffff:10.0.0.1": "private",
		"169.254.1.1": "link-local", "fe80::1%eth0": "link-local", "169.254.169.254": "cloud metadata", "fd00:ec2::254": "cloud metadata",
		"100.64.0.1": "carrier NAT", "100.100.100.200": "cloud metadata", "168.63.129.16": "cloud metadata", "224.0.0.1": "multicast", "ff02::1": "multicast",
		"240.0.0.1": "reserved", "255.255.255.255": "reserved", "64:ff9b::a00:1": "private", "64:ff9b::7f00:1": "loopback", "2002:7f00:1::": "loopback",
		"2002:a9fe:a9fe::1": "cloud metadata", "::7f00:1": "loopback", "2001:db8::1": "reserved", "64:ff9b:1::1": "reserved",
		"8.8.8.8": "", "172.32.0.1": "", "172.15.0.1": "", "100.128.0.1": "", "2606:4700::1111": "", "64:ff9b::808:808": "", "2002:808:808::1": "", "11.0.0.1": "",
	} {
		if got := kind(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s is %q, want %q", addr, got, want)
		}
	}
}

// What the standard library calls private is refused in any clothes.
func TestNoPrivateAddressIsOrdinary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b [16]byte
		copy(b[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address"))
		a := netip.AddrFrom16(b)
		if rapid.Bool().Draw(t, "four") {
			a = netip.AddrFrom4([4]byte(b[:4]))
		}
		ip := net.IP(a.AsSlice())
		odd := ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast()
		if odd && kind(a) == "" {
			t.Fatalf("%s is taken for an ordinary address", a)
		}
		if a.Is4() {
			b4 := a.As4()
			nat := netip.AddrFrom16([16]byte{0, 0x64, 0xff, 0x9b, 12: b4[0], 13: b4[1], 14: b4[2], 15: b4[3]})
			if (kind(a) == "") != (kind(nat) == "") {
				t.Fatalf("%s and %s, which a gateway makes of it, are judged apart", nat, a)
			}
		}
	})
}

// names is a resolver that knows a few names, and may change its mind with each question.
func names(answer func(name string, question int) []string) *net.Resolver {
	asked := map[string]int{}
	answers := make(chan func([]byte) []byte, 1)
	answers <- func(query []byte) []byte {
		var p dnsmessage.Parser
		h, err := p.Start(query)
		if err != nil {
			return nil
		}
		q, err := p.Question()
		if err != nil {
			return nil
		}
		b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: h.ID, Response: true, RecursionAvailable: true})
		_ = b.StartQuestions()
		_ = b.Question(q)
		_ = b.StartAnswers()
		name := strings.TrimSuffix(q.Name.String(), ".")
		if q.Type == dnsmessage.TypeA {
			asked[name]++
		}
		for _, s := range answer(name, asked[name]) {
			a := netip.MustParseAddr(s)
			rh := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 0}
			switch {
			case a.Is4() && q.Type == dnsmessage.TypeA:
				_ = b.AResource(rh, dnsmessage.AResource{A: a.As4()})
			case a.Is6() && q.Type == dnsmessage.TypeAAAA:
				_ = b.AAAAResource(rh, dnsmessage.AAAAResource{AAAA: a.As16()})
			}
		}
		out, _ := b.Finish()
		return out
	}
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			var size [2]byte
			if _, err := io.ReadFull(far, size[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(far, query); err != nil {
				return
			}
			reply := <-answers
			out := reply(query)
			answers <- reply
			_, _ = far.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
		}()
		return near, nil
	}}
}

func parse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// attempt posts to rawURL by a client with the given options.
func attempt(t *testing.T, rawURL string, c promconfig.HTTPClientConfig, o Options) oncall.Attempt {
	t.Helper()
	u := parse(t, rawURL)
	if o.URLs == nil {
		o.URLs = []*url.URL{u}
	}
	client, err := Client("test", c, o)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodPost, rawURL, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	a := oncall.Attempt{At: time.Now()}
	x := Exchange{Client: client, Redact: NewRedactor(u), Timeout: 5 * time.Second}
	if answer := x.Do(t.Context(), req, &a); answer != nil {
		Judge(answer, &a)
	}
	return a
}

// farEnd listens on loopback and counts.
func farEnd(t *testing.T) (port string, hits *int) {
	t.Helper()
	hits = new(int)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { *hits++; w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(s.Close)
	return parse(t, s.URL).Port(), hits
}

func TestPrivateAddressesNeedLeave(t *testing.T) {
	port, hits := farEnd(t)
	r := names(func(name string, _ int) []string {
		switch name {
		case "sms.example", "other.example":
			return []string{"127.0.0.1"}
		case "mixed.example":
			return []string{"169.254.169.254", "127.0.0.1"}
		}
		return nil
	})
	loopback := Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	proxied := promconfig.DefaultHTTPClientConfig
	proxied.ProxyURL = promconfig.URL{URL: parse(t, "http://other.example:"+port)}
	for name, c := range map[string]struct {
		url     string
		config  promconfig.HTTPClientConfig
		options Options
		want    oncall.Outcome
		say     string
	}{
		"a name":               {url: "http://sms.example:" + port + "/secret-path", want: oncall.OutcomeRefused, say: "sms.example resolves to 127.0.0.1 (loopback), which is not allowed: set allow_private: true"},
		"a literal":            {url: "http://127.0.0.1:" + port, want: oncall.OutcomeDelivered},
		"localhost":            {url: "http://LocalHost:" + port, want: oncall.OutcomeDelivered},
		"a literal not named":  {url: "http://127.0.0.1:" + port, options: Options{URLs: []*url.URL{parse(t, "http://sms.example")}}, want: oncall.OutcomeRefused, say: "127.0.0.1"},
		"allowed by the entry": {url: "http://sms.example:" + port, options: Options{AllowPrivate: true}, want: oncall.OutcomeDelivered},
		"allowed everywhere":   {url: "http://sms.example:" + port, options: Options{Policy: Policy{AllowPrivate: true}}, want: oncall.OutcomeDelivered},
		"allowed by its range": {url: "http://sms.example:" + port, options: Options{Policy: loopback}, want: oncall.OutcomeDelivered},
		"the allowed of two":   {url: "http://mixed.example:" + port, options: Options{Policy: loopback}, want: oncall.OutcomeDelivered},
		"another range":        {url: "http://sms.example:" + port, options: Options{Policy: Policy{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}, want: oncall.OutcomeRefused, say: "outgoing: {allow: [127.0.0.1/32]}"},
		"a proxy by hand":      {url: "http://sms.example", config: proxied, want: oncall.OutcomeDelivered},
	} {
		t.Run(name, func(t *testing.T) {
			*hits = 0
			c.options.Resolver = r
			a := attempt(t, c.url, c.config, c.options)
			if a.Outcome != c.want || !strings.Contains(a.Error, c.say) || strings.Contains(a.Error, "secret-path") {
				t.Errorf("%+v, want %s saying %q", a, c.want, c.say)
			}
			if (*hits == 1) != (c.want == oncall.OutcomeDelivered) {
				t.Errorf("the far end was asked %d times", *hits)
			}
			lookup, err := Lookup(t.Context(), c.config, Options{URLs: []*url.URL{parse(t, c.url)}, AllowPrivate: c.options.AllowPrivate,
				Policy: c.options.Policy, Resolver: r})
			if err != nil && name != "localhost" || (lookup != nil) != (c.want == oncall.OutcomeRefused) && c.options.URLs == nil {
				t.Errorf("the look-up beforehand finds %v, %v", lookup, err)
			}
		})
	}
}

// A name that answers with another address the second time gains nothing by it.
func TestRebinding(t *testing.T) {
	port, hits := farEnd(t)
	r := names(func(_ string, question int) []string {
		if question == 1 {
			return []string{"8.8.8.8"}
		}
		return []string{"127.0.0.1"}
	})
	u := "http://sms.example:" + port
	if refusal, err := Lookup(t.Context(), promconfig.DefaultHTTPClientConfig, Options{URLs: []*url.URL{parse(t, u)}, Resolver: r}); refusal != nil || err != nil {
		t.Fatalf("the first answer: %v, %v", refusal, err)
	}
	if a := attempt(t, u, promconfig.DefaultHTTPClientConfig, Options{Resolver: r}); a.Outcome != oncall.OutcomeRefused || *hits != 0 {
		t.Errorf("the second: %+v, %d requests", a, *hits)
	}
}

// Where one of several addresses is allowed and does not answer, that passes: the page is tried again.
func TestAnAllowedAddressThatDoesNotAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	r := names(func(string, int) []string { return []string{"169.254.169.254", "127.0.0.1"} })
	a := attempt(t, "http://mixed.example:"+port, promconfig.DefaultHTTPClientConfig,
		Options{Resolver: r, Policy: Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	if a.Outcome != oncall.OutcomeRetry || !strings.Contains(a.Error, "could not reach mixed.example") {
		t.Errorf("%+v", a)
	}
}

func TestRedirects(t *testing.T) {
	otherPort, stolen := farEnd(t)
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	mux.Handle("/near", http.RedirectHandler("/there", http.StatusTemporaryRedirect))
	mux.Handle("/far", http.RedirectHandler("http://127.0.0.1:"+otherPort+"/", http.StatusTemporaryRedirect))
	mux.Handle("/ring", http.RedirectHandler("/ring", http.StatusFound))
	mux.HandleFunc("/there", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	follow := promconfig.DefaultHTTPClientConfig // follows, as far as Prometheus is concerned
	for _, c := range []struct {
		method, path string
		follow       bool
		want         int
	}{
		{"GET", "/near", true, 204}, {"GET", "/near", false, 307}, {"POST", "/near", true, 307}, {"GET", "/far", true, 307}, {"POST", "/far", true, 307},
		{"GET", "/ring", true, 302},
	} {
		settings := follow
		settings.FollowRedirects = c.follow
		client, err := Client("test", settings, Options{URLs: []*url.URL{parse(t, s.URL)}})
		if err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequestWithContext(t.Context(), c.method, s.URL+c.path, nil)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s %s (follow %v): %d, want %d", c.method, c.path, c.follow, resp.StatusCode, c.want)
		}
		client.CloseIdleConnections()
	}
	if *stolen != 0 {
		t.Error("a redirect was followed to another host")
	}
}

func TestAnswersEnd(t *testing.T) {
	body := func(n int) http.RoundTripper {
		return transport(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(strings.Repeat("x", n))), Header: http.Header{}}, nil
		})
	}
	for n, fits := range map[int]bool{0: true, 9: true, 10: true, 11: false, 100_000: false} {
		client, err := Client("test", promconfig.DefaultHTTPClientConfig, Options{Transport: body(n), MaxBytes: 10})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Get("http://sms.example/")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if (err == nil) != fits || len(b) > 10 || fits && len(b) != n {
			t.Errorf("an answer of %d bytes: %d read, %v", n, len(b), err)
		}
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// What an attempt asked is kept, without what would let anybody ask the same.
func TestSentIsMasked(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	c := promconfig.DefaultHTTPClientConfig
	c.BasicAuth = &promconfig.BasicAuth{Username: "gate", Password: "pass-word"}
	c.HTTPHeaders = &promconfig.Headers{Headers: map[string]promconfig.Header{"X-Api-Token": {Values: []string{"token-of-ours"}}}}
	a := attempt(t, s.URL+"/hidden-path?key=query-token", c, Options{})
	if a.Status != 404 || a.Sent == nil || a.Sent.Method != "POST" || a.Sent.URL != s.URL+"/…" {
		t.Fatalf("%+v, %+v", a, a.Sent)
	}
	for k, want := range map[string]string{"authorization": "<masked>", "x-api-token": "<masked>", "content-length": "2"} {
		if got := a.Sent.Headers[k]; got != want {
			t.Errorf("header %s is shown as %q, want %q", k, got, want)
		}
	}
}

func TestLookupOfAnUnknownName(t *testing.T) {
	r := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no name server") }}
	refusal, err := Lookup(t.Context(), promconfig.DefaultHTTPClientConfig, Options{URLs: []*url.URL{parse(t, "http://gone.example")}, Resolver: r})
	if refusal != nil || err == nil || !strings.Contains(err.Error(), "gone.example cannot be resolved") {
		t.Errorf("%v, %v", refusal, err)
	}
}
