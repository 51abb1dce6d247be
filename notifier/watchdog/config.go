package watchdog

import (
	"net/url"
	"time"

	"go.yaml.in/yaml/v3"

	"tocsin/evaluator/httpconf"
	"tocsin/problem"
)

// What applies where the configuration sets nothing.
const (
	DefaultEvery   = time.Minute
	DefaultTimeout = 10 * time.Second
)

// Config is the watchdog section, secrets already read.
type Config struct {
	httpconf.Config // the URL is as good as a password at many far ends: it is never shown whole
	Every           time.Duration
}

// String shows where pulses go, without the path and the query.
func (c Config) String() string {
	if c.URL == nil {
		return "watchdog"
	}
	shown := url.URL{Scheme: c.URL.Scheme, Host: c.URL.Host}
	return "watchdog at " + shown.String()
}

// GoString is String: %#v must not show the secrets either.
func (c Config) GoString() string { return c.String() }

type block struct {
	httpconf.Block `yaml:",inline"`
	Every          problem.At[time.Duration] `yaml:"every"`
	URLFile        problem.At[string]        `yaml:"url_file"`
	URLEnv         problem.At[string]        `yaml:"url_env"`
}

// ExplainKey knows the keys that people bring from other places.
func (b *block) ExplainKey(key string) (message, hint string) {
	switch key {
	case "interval":
		return `unknown key "interval"`, "every says how often a pulse is sent"
	case "grace":
		return `unknown key "grace"`, "how late a pulse may be is for the far end to know"
	}
	return b.Block.ExplainKey(key)
}

// DecodeConfig decodes the watchdog section. The Config is usable only where there are no errors.
func DecodeConfig(d *problem.Document, n *yaml.Node) (*Config, problem.List) {
	b := block{Block: httpconf.NewBlock()}
	problems := d.Decode(n, &b)
	sound := len(problems.Errors()) == 0
	if b.URLFile.IsSet() || b.URLEnv.IsSet() {
		place := b.URLFile.Place
		if !b.URLFile.IsSet() {
			place = b.URLEnv.Place
		}
		if b.URL.IsSet() {
			problems, sound = append(problems, place.Errorf("url is given twice").WithHint("keep one of url, url_file and url_env")), false
		} else if sound {
			address, l := d.Secret(d.At(n), "url", b.URLFile, b.URLEnv)
			if problems = append(problems, l...); len(l) > 0 {
				sound = false
			} else if u, err := url.Parse(address); err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
				// Said here and not by who checks a url in the file: nothing of it may be repeated.
				problems, sound = append(problems, place.Errorf("what is there is no URL such as https://deadman.example/ping/abc")), false
			} else {
				b.URL = problem.At[string]{Value: address, Place: place}
			}
		}
	}
	base, l := b.Config(d, n, httpconf.Need{Section: "watchdog", Example: "https://deadman.example/ping/abc", Timeout: DefaultTimeout}, sound)
	c := &Config{Config: base, Every: DefaultEvery}
	problems = append(problems, l...)
	if b.Every.IsValid() {
		if c.Every = b.Every.Value; c.Every < time.Second {
			problems = append(problems, b.Every.Place.Errorf("every must be at least 1s"))
		}
	}
	return c, problems
}
