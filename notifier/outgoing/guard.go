package outgoing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"

	promconfig "github.com/prometheus/common/config"
)

// Policy is the top-level section outgoing: what all of tocsin's own senders may connect to.
type Policy struct {
	AllowPrivate bool           // private addresses are like any other
	Allow        []netip.Prefix // these addresses are, too
}

// Refusal is a connection that was not made, because the address is private and nobody has allowed it.
type Refusal struct {
	Host string     // as it was asked for
	Addr netip.Addr // what it resolved to
	Why  string     // what kind of address that is
}

// Error says what to do about it.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%s resolves to %s (%s), which is not allowed: set allow_private: true under its http_config, or outgoing: {allow: [%s]}",
		r.Host, r.Addr, r.Why, netip.PrefixFrom(r.Addr, r.Addr.BitLen()))
}

// special are addresses that are not the open internet's, and what each is. The first that matches names it.
var special = func() (list []struct {
	prefix netip.Prefix
	what   string
}) {
	for _, s := range [][2]string{
		{"169.254.169.254/32", "cloud metadata"}, {"fd00:ec2::254/128", "cloud metadata"}, {"fd20:ce::254/128", "cloud metadata"},
		{"100.100.100.200/32", "cloud metadata"}, {"192.0.0.192/32", "cloud metadata"}, {"168.63.129.16/32", "cloud metadata"},
		{"0.0.0.0/8", "unspecified"}, {"::/128", "unspecified"},
		{"127.0.0.0/8", "loopback"}, {"::1/128", "loopback"},
		{"10.0.0.0/8", "private"}, {"172.16.0.0/12", "private"}, {"192.168.0.0/16", "private"}, {"fc00::/7", "private"}, {"fec0::/10", "private"},
		{"169.254.0.0/16", "link-local"}, {"fe80::/10", "link-local"},
		{"100.64.0.0/10", "carrier NAT"},
		{"224.0.0.0/4", "multicast"}, {"ff00::/8", "multicast"},
		{"192.0.0.0/24", "reserved"}, {"192.0.2.0/24", "reserved"}, {"198.18.0.0/15", "reserved"}, {"198.51.100.0/24", "reserved"},
		{"203.0.113.0/24", "reserved"}, {"240.0.0.0/4", "reserved"}, {"64:ff9b:1::/48", "reserved"}, {"100::/64", "reserved"},
		{"2001::/32", "reserved"}, {"2001:db8::/32", "reserved"}, {"3fff::/20", "reserved"},
	} {
		list = append(list, struct {
			prefix netip.Prefix
			what   string
		}{netip.MustParsePrefix(s[0]), s[1]})
	}
	return list
}()

// kind says what is special about an address, "" for an ordinary one. An IPv4 address in IPv6 clothes is what it is
// without them.
func kind(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	for _, s := range special {
		if s.prefix.Contains(a) {
			return s.what
		}
	}
	if v4, ok := embedded(a); ok {
		return kind(v4)
	}
	return ""
}

var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96")
	sixTo4 = netip.MustParsePrefix("2002::/16")
	compat = netip.MustParsePrefix("::/96")
)

// embedded returns the IPv4 address that a gateway would make of an IPv6 one.
func embedded(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return netip.Addr{}, false
	}
	b := a.As16()
	switch {
	case nat64.Contains(a), compat.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixTo4.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

// guard decides where a client may connect to. It looks at the address of each connection just before it is made, so
// that a name which resolves to something else the second time gains nothing.
type guard struct {
	policy   Policy
	private  bool            // all private addresses are allowed
	named    map[string]bool // hosts that the configuration's URLs name
	proxies  map[string]bool // hosts of proxies: whoever runs tocsin has named them, by hand or in the environment
	resolver *net.Resolver
}

func newGuard(c promconfig.HTTPClientConfig, o Options) *guard {
	g := &guard{policy: o.Policy, private: o.AllowPrivate || o.Policy.AllowPrivate,
		named: map[string]bool{}, proxies: map[string]bool{}, resolver: o.Resolver}
	urls := o.URLs
	if c.OAuth2 != nil {
		if u, err := url.Parse(c.OAuth2.TokenURL); err == nil {
			urls = append(urls[:len(urls):len(urls)], u)
			g.addProxy(c.OAuth2.Proxy(), u)
		}
	}
	for _, u := range urls {
		g.named[normalHost(u.Hostname())] = true
		g.addProxy(c.Proxy(), u)
	}
	// The environment may name one proxy for each scheme.
	for _, s := range []string{"http", "https"} {
		g.addProxy(c.Proxy(), &url.URL{Scheme: s, Host: "example.com"})
	}
	return g
}

func (g *guard) addProxy(proxy func(*http.Request) (*url.URL, error), to *url.URL) {
	if proxy == nil {
		return
	}
	if p, err := proxy(&http.Request{Method: http.MethodPost, URL: to, Header: http.Header{}}); err == nil && p != nil {
		g.proxies[normalHost(p.Hostname())] = true
	}
}

// normalHost is a host as names are compared.
func normalHost(h string) string { return strings.TrimSuffix(strings.ToLower(h), ".") }

// check returns the refusal of an address that host has led to, nil if it may be connected to.
func (g *guard) check(host string, a netip.Addr) *Refusal {
	a = a.Unmap()
	why := kind(a)
	if why == "" || g.private {
		return nil
	}
	h := normalHost(host)
	if g.proxies[h] {
		return nil
	}
	if g.named[h] {
		if _, err := netip.ParseAddr(h); err == nil || h == "localhost" && why == "loopback" {
			return nil
		}
	}
	for _, p := range g.policy.Allow {
		if p.Contains(a.WithZone("")) {
			return nil
		}
	}
	return &Refusal{Host: host, Addr: a, Why: why}
}

// dial connects to one of the addresses of a host that may be connected to.
func (g *guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	var tried atomic.Bool // an address that may be connected to
	d := net.Dialer{Timeout: dialTimeout, Resolver: g.resolver, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("the address %q cannot be judged: %w", address, err)
		}
		if r := g.check(host, ap.Addr()); r != nil {
			return r
		}
		tried.Store(true)
		return nil
	}}
	conn, err := d.DialContext(ctx, network, addr)
	if r, ok := errors.AsType[*Refusal](err); ok {
		if !tried.Load() {
			return nil, r
		}
		// One of several addresses: what stands in the way is that the others do not answer, and that passes.
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("no address of %s that is allowed answers (%s is not)", host, r.Addr)}
	}
	return conn, err
}

// Lookup looks the hosts of o's URLs up, and returns the refusal that a request would meet now, nil for none. An error
// says that a name cannot be resolved. Hosts that a proxy would look up are left to it.
func Lookup(ctx context.Context, c promconfig.HTTPClientConfig, o Options) (*Refusal, error) {
	g := newGuard(c, o)
	resolver := o.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	proxy := c.Proxy()
	for _, u := range o.URLs {
		host := u.Hostname()
		if _, err := netip.ParseAddr(host); err == nil {
			continue
		}
		if proxy != nil {
			if p, err := proxy(&http.Request{Method: http.MethodPost, URL: u, Header: http.Header{}}); err == nil && p != nil {
				continue
			}
		}
		addrs, err := resolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, fmt.Errorf("%s cannot be resolved: %w", host, err)
		}
		var first *Refusal
		for _, a := range addrs {
			r := g.check(host, a)
			if r == nil {
				first = nil
				break
			}
			if first == nil {
				first = r
			}
		}
		if first != nil {
			return first, nil
		}
	}
	return nil, nil
}
