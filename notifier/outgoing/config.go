package outgoing

import (
	"net/netip"

	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"

	"tocsin/problem"
)

// Settings are an http_config of one of tocsin's own senders: Prometheus' settings, and what may be connected to.
type Settings struct {
	HTTP         promconfig.HTTPClientConfig
	AllowPrivate bool // the names in this entry may resolve to private addresses
}

// DefaultSettings apply where an entry has no http_config. No redirect is followed.
func DefaultSettings() Settings {
	s := Settings{HTTP: promconfig.DefaultHTTPClientConfig}
	s.HTTP.FollowRedirects = false
	return s
}

// DecodeSettings decodes an http_config. n may be nil: the defaults. The Settings are usable only where there are no errors.
func DecodeSettings(d *problem.Document, n *yaml.Node) (Settings, problem.List) {
	s := DefaultSettings()
	if n == nil {
		return s, nil
	}
	var b struct {
		HTTP         promconfig.HTTPClientConfig `yaml:",inline"`
		AllowPrivate bool                        `yaml:"allow_private"`
	}
	b.HTTP = promconfig.DefaultHTTPClientConfig
	problems := append(d.Decode(n, &b), d.ReadableFiles(n)...)
	var asked struct {
		FollowRedirects problem.At[bool]      `yaml:"follow_redirects"`
		Rest            map[string]*yaml.Node `yaml:",inline"`
	}
	d.Decode(n, &asked)
	if asked.FollowRedirects.Value {
		problems = append(problems, asked.FollowRedirects.Place.Errorf("pages do not follow redirects").
			WithHint("the page and its signature would go to somebody who was not configured: set url to the final address"))
	}
	s.HTTP, s.AllowPrivate = b.HTTP, b.AllowPrivate
	s.HTTP.FollowRedirects = false
	if len(problems.Errors()) > 0 {
		return s, problems
	}
	s.HTTP.SetDirectory(d.Dir())
	err := s.HTTP.Validate()
	if err == nil {
		_, err = promconfig.NewRoundTripperFromConfig(s.HTTP, "check")
	}
	if err != nil {
		problems = append(problems, d.At(n).Errorf("the HTTP client settings do not work: %v", err))
	}
	return s, problems
}

// DecodePolicy decodes the top-level section outgoing.
func DecodePolicy(d *problem.Document, n *yaml.Node) (Policy, problem.List) {
	var b struct {
		AllowPrivate bool                 `yaml:"allow_private"`
		Allow        []problem.At[string] `yaml:"allow"`
	}
	problems := d.Decode(n, &b)
	p := Policy{AllowPrivate: b.AllowPrivate}
	for _, a := range b.Allow {
		if !a.IsValid() {
			continue
		}
		prefix, err := netip.ParsePrefix(a.Value)
		if addr, aerr := netip.ParseAddr(a.Value); err != nil && aerr == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		switch {
		case err != nil:
			problems = append(problems, a.Place.Errorf("expected an address or a range such as 10.0.0.0/8, found %q", a.Value))
			continue
		case prefix.Addr().Is4In6():
			problems = append(problems, a.Place.Errorf("%q is an IPv4 range written as IPv6: it would match nothing", a.Value).WithHint("write it as IPv4, such as 10.0.0.0/8"))
			continue
		case prefix != prefix.Masked():
			problems = append(problems, a.Place.Errorf("%q has bits set beyond its length", a.Value).WithHint("did you mean %q?", prefix.Masked()))
			continue
		}
		p.Allow = append(p.Allow, prefix)
	}
	return p, problems
}
