package outgoing

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a far end answers and what the network reports is shown on timelines and in channels. This file
// takes out of it what nobody may read there.

const (
	maxExcerpt = 200 // characters
	hidden     = "<secret>"
	minSecret  = 4 // shorter texts occur by chance; hiding them would garble every message
)

// ackLink matches the token of an acknowledge link and of those beside it, also where slashes are escaped as JSON allows: a far
// end that repeats the page would put a working link on the timeline.
var ackLink = regexp.MustCompile(`(/hooks\\?/(?:ack|escalate|twilio)\\?/)[^\s"'<>\\]+`)

// Redactor knows what must not be shown of one endpoint. It never changes; any goroutine may use it.
type Redactor struct{ secrets []string }

// NewRedactor hides the given secrets, and of the URL everything beside its host: its path may be a secret too. u may
// be nil.
func NewRedactor(u *url.URL, secrets ...string) *Redactor {
	r := &Redactor{}
	for _, s := range secrets {
		r.secrets = append(r.secrets, s, strings.TrimPrefix(s, "whsec_"), url.QueryEscape(s))
	}
	if u != nil {
		r.addURL(u)
	}
	return r
}

func (r *Redactor) addURL(u *url.URL) {
	if u.User != nil {
		password, _ := u.User.Password()
		r.secrets = append(r.secrets, u.User.String(), password, url.QueryEscape(password), u.User.Username())
	}
	r.secrets = append(r.secrets, u.RawQuery)
	for _, values := range u.Query() {
		for _, v := range values {
			r.secrets = append(r.secrets, v, url.QueryEscape(v))
		}
	}
	if u.EscapedPath() != "/" {
		r.secrets = append(r.secrets, u.EscapedPath(), u.Path)
	}
}

// Clean makes far-end or network text fit for a timeline: no secrets, no control characters, one line of
// at most 200 characters. also are further secrets, of this one request.
func (r *Redactor) Clean(s string, also ...string) string {
	all := slices.Concat(r.secrets, also)
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) }) // the longer may contain the shorter
	for _, secret := range all {
		if len(secret) >= minSecret {
			s = strings.ReplaceAll(s, secret, hidden)
		}
	}
	return Excerpt(ackLink.ReplaceAllString(s, "${1}"+hidden))
}

// credentials are the secrets in the values of an Authorization header, as sent and decoded.
func credentials(values []string) (all []string) {
	for _, v := range values {
		_, c, _ := strings.Cut(v, " ")
		all = append(all, v, c)
		if b, err := base64.StdEncoding.DecodeString(c); err == nil {
			_, password, _ := strings.Cut(string(b), ":")
			all = append(all, string(b), password)
		}
	}
	return all
}

// Excerpt keeps the first 200 printable characters, runs of white space and controls as one blank.
func Excerpt(s string) string {
	var b strings.Builder
	n, blank := 0, false
	for i, r := range s {
		if n == maxExcerpt {
			break
		}
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				r = '\uFFFD'
			}
		}
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			blank = n > 0
			continue
		}
		if blank {
			if n == maxExcerpt-1 {
				break // no room for the blank and what follows it
			}
			b.WriteByte(' ')
			n++
		}
		blank = false
		b.WriteRune(r)
		n++
	}
	return b.String()
}
