package slack

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"tocsin/oncall"
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
	Name              problem.At[string] `yaml:"name"`
	AppTokenFile      problem.At[string] `yaml:"app_token_file"`
	AppTokenEnv       problem.At[string] `yaml:"app_token_env"`
	BotTokenFile      problem.At[string] `yaml:"bot_token_file"`
	BotTokenEnv       problem.At[string] `yaml:"bot_token_env"`
	SigningSecretFile problem.At[string] `yaml:"signing_secret_file"`
	SigningSecretEnv  problem.At[string] `yaml:"signing_secret_env"`
	APIURL            problem.At[string] `yaml:"api_url"`
	Command           problem.At[string] `yaml:"command"`
	AllowUnknown      bool               `yaml:"allow_unknown"`
	Charts            *bool              `yaml:"charts"`
}

// ExplainKey refuses secrets in the file.
func (block) ExplainKey(key string) (message, hint string) {
	switch key {
	case "bot_token", "signing_secret", "app_token":
		return problem.LiteralSecret(key)
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
	if b.Name.IsSet() {
		c.Name = b.Name.Value
		if !oncall.WorkspaceName.MatchString(c.Name) {
			problems = append(problems, b.Name.Place.Errorf("expected a name for the Slack workspace such as shop, found %q", c.Name).
				WithHint("small letters, digits, _ and -; channels are then written shop/#alerts"))
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
	c.AppToken, l = b.appToken(d, n)
	problems = append(problems, l...)
	if !b.AppTokenFile.IsSet() && !b.AppTokenEnv.IsSet() || b.SigningSecretFile.IsSet() || b.SigningSecretEnv.IsSet() {
		c.SigningSecret, l = d.Secret(d.At(n), "signing_secret", b.SigningSecretFile, b.SigningSecretEnv)
		problems = append(problems, l...)
	}
	return c, problems
}

// DecodeConfigs decodes the slack section: one workspace, or a list of them with names, the first of which is meant where
// a channel names none. The configurations are usable only where there are no errors.
func DecodeConfigs(d *problem.Document, n *yaml.Node) (all []Config, problems problem.List) {
	if n.Kind != yaml.SequenceNode {
		c, problems := DecodeConfig(d, n)
		return []Config{*c}, problems
	}
	if len(n.Content) == 0 {
		return nil, problem.List{d.At(n).Errorf("the list of Slack workspaces is empty").WithHint("leave the section out if there is none")}
	}
	seen := map[string]bool{}
	for _, item := range n.Content {
		c, l := DecodeConfig(d, item)
		problems = append(problems, l...)
		switch {
		case item.Kind == yaml.MappingNode && c.Name == "":
			problems = append(problems, d.At(item).Errorf("each Slack workspace of a list needs a name").
				WithHint("such as name: shop; its channels are then shop/#alerts"))
		case seen[c.Name]:
			problems = append(problems, d.At(item).Errorf("the Slack workspace %q is defined twice", c.Name))
		}
		seen[c.Name] = true
		all = append(all, *c)
	}
	return all, problems
}

// appToken reads the token of Socket Mode, "" where none is named.
func (b block) appToken(d *problem.Document, n *yaml.Node) (string, problem.List) {
	at := b.AppTokenFile.Place
	if b.AppTokenEnv.IsSet() {
		at = b.AppTokenEnv.Place
	} else if !b.AppTokenFile.IsSet() {
		return "", nil
	}
	token, l := d.Secret(d.At(n), "app_token", b.AppTokenFile, b.AppTokenEnv)
	if len(l) > 0 {
		return "", l
	}
	const hint = "in Slack: your app, Basic Information, App-Level Tokens, with the scope connections:write"
	switch {
	case strings.HasPrefix(token, "xapp-"):
	case strings.HasPrefix(token, "xoxb-"), strings.HasPrefix(token, "xoxp-"):
		l = problem.List{at.Errorf("this is a Slack token of another kind (%s…): an app-level token is needed (xapp-…)", token[:4]).WithHint(hint)}
	default:
		l = problem.List{at.Warnf("this does not look like an app-level token of Slack (xapp-…)").WithHint(hint)}
	}
	return token, l
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
