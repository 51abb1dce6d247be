package pager

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
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

// ackLink matches the token of an acknowledge link, also where slashes are escaped as JSON allows: a far
// end that repeats the page would put a working link on the timeline.
var ackLink = regexp.MustCompile(`(/hooks\\?/ack\\?/)[^\s"'<>\\]+`)

// explain says what went wrong before an answer came. The URL is left out: its path may be a secret too.
func (e *endpoint) explain(ctx context.Context, err error, w *wire) string {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	where := "no answer from "
	if w.asked.Load() && !w.written.Load() {
		where = "could not reach "
	}
	where += e.config.URL.Host
	timeout := errors.Is(err, context.DeadlineExceeded)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		timeout = true
	}
	switch {
	case timeout && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return e.clean(where+" within "+e.config.Timeout.String(), w)
	case errors.Is(err, context.Canceled):
		return e.clean(where+": the attempt was cut short", w)
	}
	return e.clean(where+": "+err.Error(), w)
}

// clean makes far-end or network text fit for a timeline: no secrets, no control characters, one line of
// at most maxExcerpt characters.
func (e *endpoint) clean(s string, w *wire) string {
	all := e.secrets(w)
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) }) // the longer may contain the shorter
	for _, secret := range all {
		if len(secret) >= minSecret {
			s = strings.ReplaceAll(s, secret, hidden)
		}
	}
	s = ackLink.ReplaceAllString(s, "${1}"+hidden)
	return excerpt(s)
}

// secrets is all that must not be shown: what signs, what is in the URL beside its host, and what the HTTP
// client put into the request's head.
func (e *endpoint) secrets(w *wire) []string {
	u := e.config.URL
	var all []string
	for _, s := range e.config.Secrets {
		all = append(all, s, strings.TrimPrefix(s, "whsec_"))
	}
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
	if u.EscapedPath() != "/" {
		all = append(all, u.EscapedPath(), u.Path)
	}
	if auth := w.auth.Load(); auth != nil {
		for _, v := range *auth {
			_, credentials, _ := strings.Cut(v, " ")
			all = append(all, v, credentials)
			if b, err := base64.StdEncoding.DecodeString(credentials); err == nil {
				_, password, _ := strings.Cut(string(b), ":")
				all = append(all, string(b), password)
			}
		}
	}
	return all
}

// excerpt keeps the first maxExcerpt printable characters, runs of white space and controls as one blank.
func excerpt(s string) string {
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
