// Package httpconf decodes what all far ends of the evaluator have in common: a URL, a timeout, headers, and
// the HTTP client settings of prometheus/common, all beside each other in one mapping. It opens no connection.
//
// Start reading at Block: a package's own block embeds it, inline.
package httpconf

import (
	"net/url"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"

	"tocsin/problem"
)

// Config is how one far end is reached.
type Config struct {
	URL     *url.URL
	Timeout time.Duration
	Headers map[string]string
	HTTP    promconfig.HTTPClientConfig
}

// Block is Config as it is written. Make it with NewBlock: the settings have defaults.
type Block struct {
	URL     problem.At[string]                        `yaml:"url"`
	Timeout problem.At[time.Duration]                 `yaml:"timeout"`
	Headers problem.At[map[string]problem.At[string]] `yaml:"headers"`
	HTTP    promconfig.HTTPClientConfig               `yaml:",inline"`
}

// NewBlock returns a Block to decode into.
func NewBlock() Block { return Block{HTTP: promconfig.DefaultHTTPClientConfig} }

// ExplainKey knows the keys that people bring from other places.
func (*Block) ExplainKey(key string) (message, hint string) {
	switch key {
	case "http_config":
		return `unknown key "http_config"`, "write its keys (basic_auth, tls_config, …) beside url"
	case "password", "username":
		return `unknown key "` + key + `"`, "it belongs below basic_auth"
	}
	return "", ""
}

// Need says what a section asks of its block.
type Need struct {
	Section string        // as it is written: "prometheus"
	Example string        // of a URL
	Base    bool          // paths are appended to the URL: it has no query, and loses a trailing slash
	Timeout time.Duration // where the block sets none
}

// Config checks what was decoded from n without problems, as far as the caller knows (decoded). The Config
// is usable only where there are no errors, here and before.
func (b *Block) Config(d *problem.Document, n *yaml.Node, need Need, decoded bool) (Config, problem.List) {
	c := Config{Timeout: need.Timeout, HTTP: b.HTTP}
	var problems problem.List
	if b.Timeout.IsValid() {
		c.Timeout = b.Timeout.Value
		if c.Timeout <= 0 {
			problems = append(problems, b.Timeout.Place.Errorf("timeout must be above 0"))
		}
	}
	if b.URL.IsValid() {
		u, l := URL(b.URL, need.Base)
		c.URL, problems = u, append(problems, l...)
	} else if decoded {
		problems = append(problems, d.At(n).Errorf("%s needs a url", need.Section).WithHint("such as url: %s", need.Example))
	}
	headers, l := problem.Headers(b.Headers.Value)
	c.Headers, problems = headers, append(problems, l...)
	problems = append(problems, d.ReadableFiles(n)...)
	if len(problems.Errors()) > 0 || !decoded {
		return c, problems
	}
	c.HTTP.SetDirectory(d.Dir())
	err := c.HTTP.Validate()
	if err == nil {
		_, err = promconfig.NewRoundTripperFromConfig(c.HTTP, need.Section)
	}
	if err != nil {
		problems = append(problems, d.At(n).Errorf("the HTTP client settings do not work: %v", err))
	}
	return c, problems
}

// URL checks the address of a far end, which is shown to people as evidence. Paths are appended to a base.
func URL(a problem.At[string], base bool) (*url.URL, problem.List) {
	u, l := problem.HTTPURL(a)
	switch {
	case u == nil:
		return nil, l
	case u.User != nil:
		return nil, problem.List{a.Place.Errorf("the URL must hold no user and password: it is shown as evidence").WithHint("use basic_auth with password_file")}
	case base && (u.RawQuery != "" || u.ForceQuery):
		return nil, problem.List{a.Place.Errorf("the URL must have no query (?…)").WithHint("give the base URL; use headers for a tenant")}
	}
	if base {
		u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	}
	return u, nil
}
