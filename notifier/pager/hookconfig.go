package pager

import (
	"go.yaml.in/yaml/v3"

	"tocsin/problem"
)

// HookName names a way in: of which vendor, for which receiver. The vendor is the first word of the list: "pagerduty",
// "opsgenie".
type HookName struct{ Vendor, Receiver string }

// List is the list of the configuration whose far ends report there.
func (n HookName) List() string { return n.Vendor + "_configs" }

// Vendors are those that report back, in order.
var Vendors = []string{"pagerduty", "opsgenie"}

// Hook is one receiver's pagerduty_webhook or opsgenie_webhook, secrets already read.
type Hook struct {
	Secrets []string                      // any of them is good, so that one can be replaced; never printed
	Users   map[string]problem.At[string] // who somebody there is here, by ID, name or e-mail address there
}

// String keeps the secrets out of dumps.
func (Hook) String() string { return "webhook" }

type hookBlock struct {
	SecretFile  problem.At[string]            `yaml:"secret_file"`
	SecretEnv   problem.At[string]            `yaml:"secret_env"`
	SecretFiles []problem.At[string]          `yaml:"secret_files"`
	Users       map[string]problem.At[string] `yaml:"users"`
}

// ExplainKey refuses secrets in the file.
func (hookBlock) ExplainKey(key string) (message, hint string) {
	switch key {
	case "secret", "token":
		return problem.LiteralSecret("secret")
	case "secrets":
		return `"secrets" would put secrets into the configuration`, `put each into a file and list the files in "secret_files"`
	}
	return "", ""
}

// minHookSecret is the shortest secret that is taken, in characters: whoever guesses it can acknowledge every page.
const minHookSecret = 16

// DecodeHook decodes one webhook's block. The Hook is usable only where there are no errors. Whether the users exist is
// for the caller to see.
func DecodeHook(d *problem.Document, n *yaml.Node) (Hook, problem.List) {
	var b hookBlock
	problems := d.Decode(n, &b)
	if n.Kind != yaml.MappingNode || len(problems) > 0 {
		return Hook{}, problems
	}
	h := Hook{Users: b.Users}
	add := func(secret string, at problem.Place, l problem.List) {
		if len(l) == 0 && len(secret) < minHookSecret {
			l = problem.List{at.Errorf("the secret must have at least %d characters, this one has %d", minHookSecret, len(secret)).
				WithHint("whoever guesses it can acknowledge every page")}
		}
		h.Secrets, problems = append(h.Secrets, secret), append(problems, l...)
	}
	if len(b.SecretFiles) > 0 {
		if b.SecretFile.IsSet() || b.SecretEnv.IsSet() {
			return h, problem.List{d.At(n).Errorf("secret_files stands beside secret_file or secret_env").WithHint("keep one of them")}
		}
		for _, file := range b.SecretFiles {
			secret, l := d.SecretFile(file)
			add(secret, file.Place, l)
		}
		return h, problems
	}
	secret, l := d.Secret(d.At(n), "secret", b.SecretFile, b.SecretEnv)
	at := b.SecretFile.Place
	if b.SecretEnv.IsSet() {
		at = b.SecretEnv.Place
	}
	add(secret, at, l)
	return h, problems
}
