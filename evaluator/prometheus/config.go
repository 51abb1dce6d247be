package prometheus

import (
	"net/url"
	"strings"
	"time"
	"unicode"

	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"

	"tocsin/evaluator/httpconf"
	"tocsin/problem"
)

// DefaultTimeout bounds one query where the configuration sets nothing.
const DefaultTimeout = 10 * time.Second

// DefaultName is the name of a single backend, and, among several, of the one that groups ask which name
// none.
const DefaultName = "default"

// Whether answers are asked for compressed. It costs a Prometheus more CPU than the query itself, and saves
// bytes on the way.
const (
	CompressionAuto = "auto" // only where the address is neither loopback nor private
	CompressionOn   = "on"
	CompressionOff  = "off"
)

// Config is one backend: any Prometheus-compatible query API.
type Config struct {
	Name        string   // unique among the backends
	URL         *url.URL // without a trailing slash
	ExternalURL *url.URL // for people: graph links; URL by default
	Timeout     time.Duration
	Headers     map[string]string
	HTTP        promconfig.HTTPClientConfig
	Compression string // CompressionAuto, CompressionOn or CompressionOff; "" is CompressionAuto
}

type block struct {
	Name           problem.At[string] `yaml:"name"`
	ExternalURL    problem.At[string] `yaml:"external_url"`
	Compression    *yaml.Node         `yaml:"compression"`
	httpconf.Block `yaml:",inline"`
}

// DecodeConfigs decodes the prometheus section: one backend, or a list of named ones of which the first is
// the default, unless another is named default. The default one comes first. The result is usable only where
// there are no errors.
func DecodeConfigs(d *problem.Document, n *yaml.Node) ([]Config, problem.List) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.SequenceNode {
		c, problems := DecodeConfig(d, n)
		return []Config{c}, problems
	}
	var nodes []*yaml.Node
	problems := d.Decode(n, &nodes)
	if len(nodes) == 0 && len(problems) == 0 {
		problems = append(problems, d.At(n).Errorf("prometheus lists no backend").WithHint("such as prometheus: [{name: shop, url: http://127.0.0.1:9090}]"))
	}
	var configs []Config
	first := map[string]int{}
	for _, n := range nodes {
		b, c, l := decodeOne(d, n)
		problems = append(problems, l...)
		line, twice := first[c.Name]
		switch {
		case b.Name.IsSet() && !b.Name.IsValid():
		case c.Name == "":
			problems = append(problems, d.At(n).Errorf("this backend has no name").WithHint("rule groups name it: prometheus: …"))
		case twice:
			problems = append(problems, b.Name.Place.Errorf("backend %q is given twice", c.Name).WithHint("the first one is on line %d", line))
		default:
			first[c.Name] = b.Name.Place.Line
		}
		if c.Name == DefaultName {
			configs = append([]Config{c}, configs...)
		} else {
			configs = append(configs, c)
		}
	}
	return configs, problems
}

// DecodeConfig decodes one backend. The Config is usable only where there are no errors.
func DecodeConfig(d *problem.Document, n *yaml.Node) (Config, problem.List) {
	b, c, problems := decodeOne(d, n)
	if !b.Name.IsSet() {
		c.Name = DefaultName
	}
	return c, problems
}

func decodeOne(d *problem.Document, n *yaml.Node) (block, Config, problem.List) {
	b := block{Block: httpconf.NewBlock()}
	problems := d.Decode(n, &b)
	need := httpconf.Need{Section: "prometheus", Example: "http://127.0.0.1:9090", Base: true, Timeout: DefaultTimeout}
	h, l := b.Config(d, n, need, len(problems.Errors()) == 0)
	problems = append(problems, l...)
	c := Config{Name: b.Name.Value, URL: h.URL, ExternalURL: h.URL, Timeout: h.Timeout, Headers: h.Headers, HTTP: h.HTTP, Compression: CompressionAuto}
	if b.Name.IsValid() && (strings.TrimSpace(c.Name) != c.Name || c.Name == "" || strings.ContainsFunc(c.Name, unicode.IsControl)) {
		problems = append(problems, b.Name.Place.Errorf("a backend's name must be plain text"))
	}
	if b.ExternalURL.IsValid() {
		u, l := httpconf.URL(b.ExternalURL, true)
		c.ExternalURL, problems = u, append(problems, l...)
	}
	if b.Compression != nil {
		c.Compression, l = decodeCompression(d, b.Compression)
		problems = append(problems, l...)
	}
	return b, c, problems
}

// decodeCompression reads auto, on or off. YAML libraries differ on whether on and off are booleans; true and
// false mean the same here.
func decodeCompression(d *problem.Document, n *yaml.Node) (string, problem.List) {
	if n.Kind == yaml.ScalarNode {
		switch n.Value {
		case CompressionAuto, CompressionOn, CompressionOff:
			return n.Value, nil
		case "true":
			return CompressionOn, nil
		case "false":
			return CompressionOff, nil
		}
	}
	return CompressionAuto, problem.List{d.At(n).Errorf("expected auto, on or off").WithHint("auto compresses only over networks that are neither loopback nor private")}
}
