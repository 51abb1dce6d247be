package problem

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const maskText = "<secret>"

// secretWords are parts of key names whose values are secrets, unless the key only says where the secret is.
var secretWords = []string{"password", "secret", "token", "credentials", "routing_key", "service_key", "api_key",
	"webhook_url", "slack_api_url"}

// secretKey reports whether values below a key must not be shown.
func secretKey(key string) bool {
	key = strings.ToLower(key)
	for _, suffix := range []string{"_file", "_files", "_env", "_ref", "_url"} {
		if strings.HasSuffix(key, suffix) && key != "slack_api_url" && key != "webhook_url" {
			return false
		}
	}
	switch key {
	case "key", "headers", "http_headers", "proxy_connect_header":
		return true
	}
	// A misspelt secret is a secret too.
	return slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(key, w) }) ||
		len(key) > 4 && Nearest(key, secretWords) != ""
}

// maskSecrets finds the lines, and the columns in them, that hold a secret written into the file.
func (d *Document) maskSecrets() {
	var starts []*yaml.Node // in order of the file
	secret := map[*yaml.Node]bool{}
	var walk func(n *yaml.Node, hidden bool)
	walk = func(n *yaml.Node, hidden bool) {
		d.nodes++
		starts = append(starts, n)
		secret[n] = hidden && n.Kind == yaml.ScalarNode
		if n.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(n.Content); i += 2 {
				walk(n.Content[i], false)
				walk(n.Content[i+1], hidden || secretKey(n.Content[i].Value))
			}
			return
		}
		for _, c := range n.Content {
			walk(c, hidden)
		}
	}
	walk(d.Root, false)
	for i, n := range starts {
		if !secret[n] {
			continue
		}
		end := len(d.lines) + 1
		if i+1 < len(starts) {
			end = max(starts[i+1].Line, n.Line+1)
		}
		d.mask(n.Line, n.Column)
		for line := n.Line + 1; line < end; line++ {
			d.mask(line, 1)
		}
	}
}

func (d *Document) mask(line, column int) {
	if c, ok := d.masked[line]; !ok || column < c {
		d.masked[line] = column
	}
}

var (
	secretPair  = regexp.MustCompile(`(?i)([a-z0-9_-]*(?:password|secret|token|credentials|_key|webhook_url|slack_api_url)[a-z0-9_-]*)(["']?\s*:\s*)(\S.*)`)
	secretShape = regexp.MustCompile(`xox[a-z]-[^\s'"]+|xapp-[^\s'"]+|whsec_[^\s'"]+`)
	urlUserInfo = regexp.MustCompile(`://[^/\s@]+@`)
	urlQuery    = regexp.MustCompile(`(://[^\s?'"]+\?)[^\s'"]+`)
)

// sourceLine returns a line as it may be shown: secrets that somebody wrote into the file are masked.
func (d *Document) sourceLine(line int) string {
	if text, ok := d.shown[line]; ok {
		return text
	}
	d.shown[line] = d.maskLine(line)
	return d.shown[line]
}

func (d *Document) maskLine(line int) string {
	text := strings.TrimRight(d.lines[line-1], "\r")
	if column, ok := d.masked[line]; ok {
		runes := []rune(text)
		at := min(column-1, len(runes))
		for at < len(runes) && (runes[at] == ' ' || runes[at] == '\t') {
			at++
		}
		text = string(runes[:at]) + maskText
	}
	text = secretPair.ReplaceAllStringFunc(text, func(s string) string {
		m := secretPair.FindStringSubmatch(s)
		if !secretKey(m[1]) {
			return s
		}
		return m[1] + m[2] + maskText
	})
	text = secretShape.ReplaceAllString(text, maskText)
	text = urlUserInfo.ReplaceAllString(text, "://"+maskText+"@")
	return strings.Clone(urlQuery.ReplaceAllString(text, "${1}"+maskText))
}

// hidden reports whether the node's value must not be repeated in a message.
func (d *Document) hidden(n *yaml.Node) bool {
	column, ok := d.masked[n.Line]
	return ok && column <= n.Column
}

// maxSecret bounds secret files, so that a wrong name cannot fill the memory.
const maxSecret = 64 << 10

// SecretFile reads the secret in a file named by the document, without blanks at both ends. Problems are
// reported at the name's place and never repeat the content.
func (d *Document) SecretFile(name At[string]) (string, List) {
	if name.Value == "" {
		return "", List{name.Place.Errorf("expected the name of a file that holds the secret")}
	}
	path := d.Path(name.Value)
	content, err := d.Read(path)
	if err != nil {
		return "", List{name.Place.Errorf("cannot read the secret file %s: %s", path, readFailure(err))}
	}
	secret := strings.TrimSpace(string(content))
	switch {
	case secret == "":
		return "", List{name.Place.Errorf("the secret file %s is empty", path)}
	case len(content) > maxSecret:
		return "", List{name.Place.Errorf("the secret file %s is larger than 64 KiB", path)}
	case strings.ContainsAny(secret, "\r\n") || strings.ContainsRune(secret, 0) || !utf8.ValidString(secret):
		return "", List{name.Place.Errorf("the secret file %s must hold one line of text", path)}
	}
	return secret, nil
}

// SecretEnv reads the secret in an environment variable named by the document.
func (d *Document) SecretEnv(name At[string]) (string, List) {
	if name.Value == "" {
		return "", List{name.Place.Errorf("expected the name of an environment variable that holds the secret")}
	}
	secret := strings.TrimSpace(d.Getenv(name.Value))
	if secret == "" {
		return "", List{name.Place.Errorf("the environment variable %s is not set, or empty", name.Value)}
	}
	return secret, nil
}

// Secret reads the secret called key (such as bot_token) from key_file or key_env, of which at most one
// may be set; with neither it is an error at the block's place.
func (d *Document) Secret(block Place, key string, file, env At[string]) (string, List) {
	switch {
	case file.IsSet() && env.IsSet():
		return "", List{env.Place.Errorf("%s_file and %s_env are both set", key, key).WithHint("keep one of them")}
	case file.IsSet():
		return d.SecretFile(file)
	case env.IsSet():
		return d.SecretEnv(env)
	}
	return "", List{block.Errorf("%s_file is required", key).WithHint("put the secret into a file and name it here, or name an environment variable with %s_env", key)}
}

// LiteralSecret is the message and hint for a secret written into the file itself.
func LiteralSecret(key string) (message, hint string) {
	return `"` + key + `" would put a secret into the configuration`,
		`put it into a file and use "` + key + `_file", or into the environment and use "` + key + `_env"`
}

// readFailure says why a file could not be read, without its name.
func readFailure(err error) string {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		if errors.Is(pathError, os.ErrNotExist) {
			return "it does not exist"
		}
		return pathError.Err.Error()
	}
	return err.Error()
}
