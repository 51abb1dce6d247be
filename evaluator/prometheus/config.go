package prometheus

import (
	"net/textproto"
	"net/url"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"

	"tocsin/problem"
)

// DefaultTimeout bounds one query where the configuration sets nothing.
const DefaultTimeout = 10 * time.Second

// Config is the prometheus section: any Prometheus-compatible query API.
type Config struct {
	URL         *url.URL // without a trailing slash
	ExternalURL *url.URL // for people: graph links; URL by default
	Timeout     time.Duration
	Headers     map[string]string
	HTTP        promconfig.HTTPClientConfig
}

type block struct {
	URL         problem.At[string]                        `yaml:"url"`
	ExternalURL problem.At[string]                        `yaml:"external_url"`
	Timeout     problem.At[time.Duration]                 `yaml:"timeout"`
	Headers     problem.At[map[string]problem.At[string]] `yaml:"headers"`
	HTTP        promconfig.HTTPClientConfig               `yaml:",inline"`
}

// ExplainKey knows the keys that people bring from other places.
func (*block) ExplainKey(key string) (message, hint string) {
	switch key {
	case "http_config":
		return `unknown key "http_config"`, "write its keys (basic_auth, tls_config, …) beside url"
	case "password", "username":
		return `unknown key "` + key + `"`, "it belongs below basic_auth"
	}
	return "", ""
}

// DecodeConfig decodes the prometheus section. The Config is usable only where there are no errors.
func DecodeConfig(d *problem.Document, n *yaml.Node) (Config, problem.List) {
	b := block{HTTP: promconfig.DefaultHTTPClientConfig}
	problems := d.Decode(n, &b)
	decoded := len(problems) == 0
	c := Config{Timeout: DefaultTimeout, HTTP: b.HTTP}
	if b.Timeout.IsValid() {
		c.Timeout = b.Timeout.Value
		if c.Timeout <= 0 {
			problems = append(problems, b.Timeout.Place.Errorf("timeout must be above 0"))
		}
	}
	if b.URL.IsValid() {
		u, l := decodeURL(b.URL)
		c.URL, c.ExternalURL, problems = u, u, append(problems, l...)
	} else if decoded {
		problems = append(problems, d.At(n).Errorf("prometheus needs a url").WithHint("such as url: http://127.0.0.1:9090"))
	}
	if b.ExternalURL.IsValid() {
		u, l := decodeURL(b.ExternalURL)
		c.ExternalURL, problems = u, append(problems, l...)
	}
	headers, l := decodeHeaders(b.Headers.Value)
	c.Headers, problems = headers, append(problems, l...)
	problems = append(problems, d.ReadableFiles(n)...)
	if len(problems.Errors()) > 0 {
		return c, problems
	}
	c.HTTP.SetDirectory(d.Dir())
	err := c.HTTP.Validate()
	if err == nil {
		_, err = promconfig.NewRoundTripperFromConfig(c.HTTP, "prometheus")
	}
	if err != nil {
		problems = append(problems, d.At(n).Errorf("the HTTP client settings do not work: %v", err))
	}
	return c, problems
}

// decodeURL checks a base URL: paths are appended to it, and it is shown to people as evidence.
func decodeURL(a problem.At[string]) (*url.URL, problem.List) {
	u, l := problem.HTTPURL(a)
	switch {
	case u == nil:
		return nil, l
	case u.User != nil:
		return nil, problem.List{a.Place.Errorf("the URL must hold no user and password: it is shown as evidence").WithHint("use basic_auth with password_file")}
	case u.RawQuery != "" || u.ForceQuery:
		return nil, problem.List{a.Place.Errorf("the URL must have no query (?…)").WithHint("give the base URL; use headers for a tenant")}
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

func decodeHeaders(headers map[string]problem.At[string]) (map[string]string, problem.List) {
	var problems problem.List
	out := map[string]string{}
	seen := map[string]bool{}
	for name, value := range headers {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		_, reserved := promconfig.ReservedHeaders[canonical]
		switch {
		case name == "" || strings.ContainsFunc(name, notToken):
			problems = append(problems, value.Place.Errorf("%q is no header name", name))
		case reserved:
			problems = append(problems, value.Place.Errorf("the header %s cannot be set here", canonical).WithHint("for credentials use basic_auth or authorization"))
		case seen[canonical]:
			problems = append(problems, value.Place.Errorf("the header %s is given twice", canonical))
		case strings.ContainsAny(value.Value, "\r\n\x00"):
			problems = append(problems, value.Place.Errorf("the value of the header %s must be one line", canonical))
		}
		seen[canonical] = true
		out[name] = value.Value
	}
	return out, problems
}

// notToken reports characters that HTTP does not allow in a header's name.
func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}
