package slack

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"tocsin/problem"
)

// Config is the slack section, secrets already read.
type Config struct {
	Name          string // of the workspace in channels, name/#channel; "" where it is the only one
	BotToken      string // xoxb-…; never printed
	SigningSecret string // never printed; "" where presses come over Socket Mode alone
	AppToken      string // xapp-…, for Socket Mode; "" for none; never printed
	APIURL        string // with a trailing slash; https://slack.com/api/ by default
	Command       string // "/tocsin" by default
	NoCharts      bool   // threads get no charts
	AllowUnknown  bool   // people who are no configured user may act
}

// What applies where the configuration sets nothing.
const (
	DefaultAPIURL  = "https://slack.com/api/"
	DefaultCommand = "/tocsin"
)

type block struct {
	BotTokenFile      problem.At[string] `yaml:"bot_token_file"`
	BotTokenEnv       problem.At[string] `yaml:"bot_token_env"`
	SigningSecretFile problem.At[string] `yaml:"signing_secret_file"`
	SigningSecretEnv  problem.At[string] `yaml:"signing_secret_env"`
	APIURL            problem.At[string] `yaml:"api_url"`
	Command           problem.At[string] `yaml:"command"`
	AllowUnknown      bool               `yaml:"allow_unknown"`
	Charts            *bool              `yaml:"charts"`
}

// ExplainKey refuses secrets in the file, and what a later build will do.
func (block) ExplainKey(key string) (message, hint string) {
	switch key {
	case "bot_token", "signing_secret":
		return problem.LiteralSecret(key)
	case "app_token_file", "app_token_env", "app_token":
		return "Socket Mode (" + key + ") is not supported by this build yet",
			"no press would arrive: give Slack the URLs /slack/commands and /slack/interactions, and set signing_secret_file"
	}
	return "", ""
}

var commandForm = regexp.MustCompile(`^/[a-z0-9_-]{1,31}$`)

// DecodeConfig decodes the slack section. The Config is usable only where there are no errors.
func DecodeConfig(d *problem.Document, n *yaml.Node) (*Config, problem.List) {
	var b block
	problems := d.Decode(n, &b)
	c := &Config{APIURL: DefaultAPIURL, Command: DefaultCommand, AllowUnknown: b.AllowUnknown, NoCharts: b.Charts != nil && !*b.Charts}
	if b.APIURL.IsValid() {
		u, l := problem.HTTPURL(b.APIURL)
		problems = append(problems, l...)
		if u != nil && (u.RawQuery != "" || u.User != nil) {
			problems = append(problems, b.APIURL.Place.Errorf("the URL must have no query, user or password: methods are appended to it"))
		} else if u != nil {
			c.APIURL = strings.TrimRight(u.String(), "/") + "/"
		}
	}
	if b.Command.IsValid() {
		c.Command = b.Command.Value
		if !commandForm.MatchString(c.Command) {
			p := b.Command.Place.Errorf("expected a slash command such as /tocsin, found %q", c.Command)
			if commandForm.MatchString("/" + c.Command) {
				p = p.WithHint("did you mean %q?", "/"+c.Command)
			}
			problems = append(problems, p)
		}
	}
	if n.Kind != yaml.MappingNode || len(problems.Errors()) > 0 {
		return c, problems
	}
	var l problem.List
	c.BotToken, l = d.Secret(d.At(n), "bot_token", b.BotTokenFile, b.BotTokenEnv)
	if len(l) == 0 {
		l = b.checkBotToken(c.BotToken)
	}
	problems = append(problems, l...)
	c.SigningSecret, l = d.Secret(d.At(n), "signing_secret", b.SigningSecretFile, b.SigningSecretEnv)
	return c, append(problems, l...)
}

// checkBotToken tells the kinds of Slack tokens apart: with the wrong one every message would be refused.
func (b block) checkBotToken(token string) problem.List {
	at := b.BotTokenFile.Place
	if b.BotTokenEnv.IsSet() {
		at = b.BotTokenEnv.Place
	}
	const hint = "in Slack: your app, OAuth & Permissions, Bot User OAuth Token"
	switch {
	case strings.HasPrefix(token, "xoxb-"):
		return nil
	case strings.HasPrefix(token, "xapp-"), strings.HasPrefix(token, "xoxp-"):
		return problem.List{at.Errorf("this is a Slack token of another kind (%s…): a bot token is needed (xoxb-…)", token[:4]).WithHint(hint)}
	}
	return problem.List{at.Warnf("this does not look like a Slack bot token (xoxb-…)").WithHint(hint)}
}
