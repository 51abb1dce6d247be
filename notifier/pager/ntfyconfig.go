package pager

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"

	"tocsin/notifier/outgoing"
	"tocsin/problem"
)

// NtfyConfig is one entry of a receiver's ntfy_configs, the token already read.
type NtfyConfig struct {
	URL          *url.URL            // of the server
	Topic        string              // whoever knows it can read along where the server asks for nothing: never shown
	Token        string              // "" for none; never printed
	Looks        map[string]NtfyLook // by severity in lower case, "none" where there is none; what is missing has a default
	Separate     bool                // what tells never replaces what asked
	Timeout      time.Duration
	HTTP         promconfig.HTTPClientConfig
	AllowPrivate bool
}

// NtfyLook is how pages of one severity look.
type NtfyLook struct {
	Priority int      // 1 to 5; 0: the default
	Tags     []string // nil: the default
}

// String keeps topic and token out of dumps.
func (c NtfyConfig) String() string { return "ntfy at " + c.URL.Host }

type ntfyBlock struct {
	URL       problem.At[string]              `yaml:"url"`
	Topic     problem.At[string]              `yaml:"topic"`
	TokenFile problem.At[string]              `yaml:"token_file"`
	TokenEnv  problem.At[string]              `yaml:"token_env"`
	Looks     map[string]problem.At[ntfyLook] `yaml:"severities"`
	Update    problem.At[bool]                `yaml:"update_messages"`
	Timeout   problem.At[time.Duration]       `yaml:"timeout"`
	HTTP      *yaml.Node                      `yaml:"http_config"`
}

type ntfyLook struct {
	Priority problem.At[int]      `yaml:"priority"`
	Tags     []problem.At[string] `yaml:"tags"`
}

// ExplainKey refuses secrets in the file.
func (ntfyBlock) ExplainKey(key string) (message, hint string) {
	switch key {
	case "token":
		return problem.LiteralSecret(key)
	case "send_resolved":
		return `ntfy_configs has no "send_resolved"`, "whoever was paged is always told once of the end: remove it"
	}
	return "", ""
}

var topicForm = regexp.MustCompile(`^[-_A-Za-z0-9]{1,64}$`)

// DecodeNtfy decodes one entry of ntfy_configs. The NtfyConfig is usable only where there are no errors.
func DecodeNtfy(d *problem.Document, n *yaml.Node) (c NtfyConfig, problems problem.List) {
	var b ntfyBlock
	problems = d.Decode(n, &b)
	if n.Kind != yaml.MappingNode {
		return c, problems
	}
	c = NtfyConfig{Topic: b.Topic.Value, Timeout: DefaultTimeout}
	address := b.URL
	if !address.IsSet() {
		address = problem.At[string]{Value: "https://ntfy.sh", Place: d.At(n)}
	}
	u, l := problem.HTTPURL(address)
	c.URL, problems = u, append(problems, l...)
	if len(l) == 0 && address.IsValid() && u.Path != "" && u.Path != "/" {
		problems = append(problems, address.Place.Errorf("the url must be that of the server, without a path").WithHint("name the topic in topic"))
	}
	switch {
	case !b.Topic.IsSet():
		problems = append(problems, d.At(n).Errorf("ntfy_configs needs a topic").WithHint("the one that the phone subscribes to"))
	case b.Topic.IsValid() && !topicForm.MatchString(c.Topic):
		problems = append(problems, b.Topic.Place.Errorf("expected a topic of up to 64 letters, digits, - and _"))
	}
	if b.TokenFile.IsSet() || b.TokenEnv.IsSet() {
		token, l := d.Secret(d.At(n), "token", b.TokenFile, b.TokenEnv)
		c.Token, problems = token, append(problems, l...)
	}
	looks, l := ntfyLooks(b.Looks)
	c.Looks, problems = looks, append(problems, l...)
	c.Separate = b.Update.IsValid() && !b.Update.Value
	if b.Timeout.IsValid() {
		if c.Timeout = b.Timeout.Value; c.Timeout <= 0 {
			problems = append(problems, b.Timeout.Place.Errorf("timeout must be above 0"))
		}
	}
	settings, l := outgoing.DecodeSettings(d, b.HTTP)
	c.HTTP, c.AllowPrivate = settings.HTTP, settings.AllowPrivate
	return c, append(problems, l...)
}

// ntfyNone is how the configuration names alerts without a severity.
const ntfyNone = "none"

// tagForm: ntfy joins tags with commas.
var tagForm = regexp.MustCompile(`^[^\s,]{1,40}$`)

const maxNtfyTags = 5

// ntfyLooks checks how pages are to look.
func ntfyLooks(blocks map[string]problem.At[ntfyLook]) (looks map[string]NtfyLook, problems problem.List) {
	looks = make(map[string]NtfyLook, len(blocks))
	for _, severity := range slices.Sorted(maps.Keys(blocks)) {
		at, b := blocks[severity].Place, blocks[severity].Value
		name := strings.ToLower(strings.TrimSpace(severity))
		if _, twice := looks[name]; twice {
			problems = append(problems, at.Errorf("the severity %q is here twice: upper and lower case are the same", name))
		}
		if b.Priority.IsValid() && (b.Priority.Value < 1 || b.Priority.Value > 5) {
			problems = append(problems, b.Priority.Place.Errorf("priority must be between 1 and 5").WithHint("5 is the loudest; 1 and 2 make no sound"))
		}
		if len(b.Tags) > maxNtfyTags {
			problems = append(problems, b.Tags[maxNtfyTags].Place.Errorf("expected up to %d tags", maxNtfyTags))
		}
		look := NtfyLook{Priority: b.Priority.Value}
		if b.Tags != nil {
			look.Tags = []string{}
		}
		for _, tag := range b.Tags {
			if tag.IsValid() && !tagForm.MatchString(tag.Value) {
				problems = append(problems, tag.Place.Errorf("%q is no tag of ntfy's", tag.Value).WithHint("a word without blanks and commas, such as skull: names of emojis are shown as emojis"))
			}
			look.Tags = append(look.Tags, tag.Value)
		}
		looks[name] = look
	}
	return looks, problems
}
