package pager

import (
	"encoding/base64"
	"net/url"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"

	"tocsin/notifier/outgoing"
	"tocsin/problem"
)

// Config is one entry of a receiver's page_configs, secrets already read.
type Config struct {
	URL     *url.URL
	Secrets []string // whsec_…; each signs, so that a secret can be rotated; never printed
	Timeout time.Duration
	HTTP    promconfig.HTTPClientConfig // without redirects
	// AllowPrivate says that the URL's host may resolve to a private address.
	AllowPrivate bool
}

type block struct {
	URL         problem.At[string]        `yaml:"url"`
	SecretFile  problem.At[string]        `yaml:"secret_file"`
	SecretEnv   problem.At[string]        `yaml:"secret_env"`
	SecretFiles []problem.At[string]      `yaml:"secret_files"`
	Timeout     problem.At[time.Duration] `yaml:"timeout"`
	HTTP        *yaml.Node                `yaml:"http_config"`
}

// ExplainKey refuses secrets in the file, and names what Alertmanager's receivers have and pages do not.
func (block) ExplainKey(key string) (message, hint string) {
	switch key {
	case "secret":
		return problem.LiteralSecret(key)
	case "secrets":
		return `"secrets" would put secrets into the configuration`, `put each into a file and list the files in "secret_files"`
	case "send_resolved":
		return `page_configs has no "send_resolved"`, "whoever was paged is always told once of the end: remove it"
	}
	return "", ""
}

// DecodeConfig decodes one entry of page_configs. The Config is usable only where there are no errors.
func DecodeConfig(d *problem.Document, n *yaml.Node) (Config, problem.List) {
	var b block
	problems := d.Decode(n, &b)
	c := Config{Timeout: DefaultTimeout}
	if b.Timeout.IsValid() {
		c.Timeout = b.Timeout.Value
		if c.Timeout <= 0 {
			problems = append(problems, b.Timeout.Place.Errorf("timeout must be above 0"))
		}
	}
	if b.URL.IsValid() {
		u, l := problem.HTTPURL(b.URL)
		c.URL, problems = u, append(problems, l...)
	} else if n.Kind == yaml.MappingNode && !b.URL.IsSet() {
		problems = append(problems, d.At(n).Errorf("page_configs needs a url").WithHint("where pages are posted to"))
	}
	if n.Kind == yaml.MappingNode && len(problems) == 0 {
		secrets, l := b.secrets(d, d.At(n))
		c.Secrets, problems = secrets, append(problems, l...)
	}
	settings, l := outgoing.DecodeSettings(d, b.HTTP)
	c.HTTP, c.AllowPrivate = settings.HTTP, settings.AllowPrivate
	return c, append(problems, l...)
}

// secrets reads what signs: one secret, or several while one is being replaced.
func (b block) secrets(d *problem.Document, at problem.Place) (secrets []string, problems problem.List) {
	if len(b.SecretFiles) == 0 {
		secret, l := d.Secret(at, "secret", b.SecretFile, b.SecretEnv)
		if len(l) > 0 {
			return nil, l
		}
		if b.SecretEnv.IsSet() {
			at = b.SecretEnv.Place
		} else {
			at = b.SecretFile.Place
		}
		normal, l := normalSecret(secret, at)
		return []string{normal}, l
	}
	if b.SecretFile.IsSet() || b.SecretEnv.IsSet() {
		return nil, problem.List{at.Errorf("secret_files stands beside secret_file or secret_env").WithHint("keep one of them")}
	}
	for _, file := range b.SecretFiles {
		secret, l := d.SecretFile(file)
		if len(l) == 0 {
			secret, l = normalSecret(secret, file.Place)
		}
		secrets, problems = append(secrets, secret), append(problems, l...)
	}
	return secrets, problems
}

const (
	secretPrefix   = "whsec_"
	minSecretBytes = 24 // bytes, as Standard Webhooks says
	maxSecretBytes = 64
)

// normalSecret checks a secret of Standard Webhooks and returns it with its prefix, which may be missing.
func normalSecret(secret string, at problem.Place) (string, problem.List) {
	encoded := strings.TrimPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	const hint = `make one with: echo "whsec_$(openssl rand -base64 32)"`
	if err != nil {
		return "", problem.List{at.Errorf("the secret must be base64, after whsec_").WithHint(hint)}
	}
	if len(key) < minSecretBytes || len(key) > maxSecretBytes {
		return "", problem.List{at.Errorf("the secret must have %d to %d bytes, this one has %d", minSecretBytes, maxSecretBytes, len(key)).WithHint(hint)}
	}
	return secretPrefix + encoded, nil
}
