package alertmanager

import (
	"encoding/base64"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	amcommon "github.com/prometheus/alertmanager/config/common"
	promconfig "github.com/prometheus/common/config"
)

// What a far end answers and what the network reports is shown on timelines and in logs. This file takes out
// of it what nobody may read there.

const (
	hiddenText = "<secret>"
	// minSecret is the length from which a secret is looked for in texts: shorter ones occur by chance.
	minSecret  = 4
	shownRunes = 200
)

var (
	ackLink  = regexp.MustCompile(`(/hooks\\?/ack\\?/)[^\s"'<>\\]+`)
	userInfo = regexp.MustCompile(`://[^/\s@]+@`)
)

// clean makes far-end or network text fit for a timeline: no secrets, no control characters, one short line.
func clean(s string, secrets []string) string {
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // the longer may contain the shorter
	for _, secret := range secrets {
		if len(secret) >= minSecret {
			s = strings.ReplaceAll(s, secret, hiddenText)
		}
	}
	s = ackLink.ReplaceAllString(s, "${1}"+hiddenText)
	s = userInfo.ReplaceAllString(s, "://"+hiddenText+"@")
	return oneLine(s, shownRunes)
}

// oneLine keeps the first printable characters, runs of white space and controls as one blank.
func oneLine(s string, limit int) string {
	var b strings.Builder
	n, blank := 0, false
	for _, r := range strings.ToValidUTF8(s, string(utf8.RuneError)) {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) && r != utf8.RuneError {
			blank = n > 0
			continue
		}
		need := 1
		if blank {
			need = 2
		}
		if n+need > limit {
			break
		}
		if blank {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
		n, blank = n+need, false
	}
	return b.String()
}

// secretsOf are the secrets of an integration's configuration, those in files included.
func secretsOf(conf reflect.Value) []string {
	var all []string
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if v.IsNil() {
				return
			}
			switch s := v.Interface().(type) {
			case *amcommon.SecretURL:
				if s.URL != nil {
					all = append(all, urlSecrets(s.URL)...)
				}
				return
			case *url.URL:
				all = append(all, urlSecrets(s)...)
				return
			}
			walk(v.Elem())
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Map:
			for it := v.MapRange(); it.Next(); {
				walk(it.Value())
			}
		case reflect.String:
			if secretTypes[v.Type()] {
				all = append(all, secretText(v.String())...)
			}
		case reflect.Struct:
			for i := range v.NumField() {
				f := v.Type().Field(i)
				if !f.IsExported() {
					continue
				}
				if key, _ := yamlKey(f); strings.HasSuffix(key, "_file") && v.Field(i).Kind() == reflect.String && !strings.HasPrefix(key, "ca_") {
					if b, err := os.ReadFile(v.Field(i).String()); err == nil && len(b) < maxAnswer {
						all = append(all, secretText(strings.TrimSpace(string(b)))...)
					}
				}
				walk(v.Field(i))
			}
		}
	}
	walk(conf)
	return all
}

var secretTypes = map[reflect.Type]bool{
	reflect.TypeFor[promconfig.Secret]():          true,
	reflect.TypeFor[amcommon.SecretTemplateURL](): true,
}

// secretText is a secret, and its parts where it is a URL.
func secretText(s string) []string {
	all := []string{s, url.QueryEscape(s), base64.StdEncoding.EncodeToString([]byte(s))}
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		all = append(all, urlSecrets(u)...)
	}
	return all
}

// urlSecrets is what must not be shown of a URL: all but scheme and host.
func urlSecrets(u *url.URL) []string {
	var all []string
	if u.User != nil {
		password, _ := u.User.Password()
		all = append(all, u.User.String(), password, url.QueryEscape(password), u.User.Username())
	}
	all = append(all, u.RawQuery)
	for _, values := range u.Query() {
		for _, v := range values {
			all = append(all, v, url.QueryEscape(v))
		}
	}
	if path := u.EscapedPath(); len(path) > 1 {
		all = append(all, path, u.Path)
	}
	return all
}

// authSecrets is an Authorization header's value and what it is made of.
func authSecrets(header string) []string {
	_, credentials, _ := strings.Cut(header, " ")
	all := []string{header, credentials}
	if b, err := base64.StdEncoding.DecodeString(credentials); err == nil {
		_, password, _ := strings.Cut(string(b), ":")
		all = append(all, string(b), password)
	}
	return all
}
