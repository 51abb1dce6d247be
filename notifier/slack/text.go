package slack

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Everything below turns text that somebody else wrote (labels, annotations, notes, names) into text that
// is safe inside a Slack message: it cannot ping, format, reorder or overflow anything.

// clean makes one line of s: valid UTF-8, without control characters and without the invisible characters
// that reorder or hide text. Runs of space become one.
func clean(s string) string {
	// What is far too long is cut before it is looked at rune by rune.
	if len(s) > 64<<10 {
		s = s[:64<<10]
	}
	s = strings.ToValidUTF8(s, "�")
	var b strings.Builder
	space := false
	for _, r := range s {
		if unicode.IsSpace(r) || r == '\u2028' || r == '\u2029' {
			space = b.Len() > 0
			continue
		}
		if unicode.IsControl(r) || hidden(r) {
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// hidden reports invisible characters that change how their neighbours are shown: direction marks and
// overrides, zero-width characters (but for the joiners that scripts and emoji need), tags.
func hidden(r rune) bool {
	switch {
	case r == '\u200c' || r == '\u200d':
		return false
	case r >= '\u200b' && r <= '\u200f', r >= '\u202a' && r <= '\u202e', r >= '\u2060' && r <= '\u206f':
		return true
	case r == '\u061c', r == '\ufeff', r == '\u00ad', r >= 0xe0000 && r <= 0xe007f:
		return true
	}
	return false
}

// shorten cuts s to at most n characters, with an ellipsis where something is missing.
func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	if n <= 0 {
		return ""
	}
	i := 0
	for p := range s {
		if i == n-1 {
			return s[:p] + "…"
		}
		i++
	}
	return s
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// escape replaces the three characters with which Slack's text begins anything special. Slack decodes
// them in plain_text objects too.
func escape(s string) string { return escaper.Replace(s) }

// fit cleans and escapes s so that the result, as Slack counts it, has at most n characters.
func fit(s string, n int) string {
	s = shorten(clean(s), n)
	rtl := strings.ContainsFunc(s, rightToLeft)
	if rtl {
		n -= 2
	}
	for k := n; utf8.RuneCountInString(escape(s)) > n && k > 0; k -= 1 + k/10 {
		s = shorten(s, k-1)
	}
	if rtl { // isolated, so that it does not reorder what stands around it
		return "\u2068" + escape(s) + "\u2069"
	}
	return escape(s)
}

func rightToLeft(r rune) bool {
	return unicode.In(r, unicode.Hebrew, unicode.Arabic, unicode.Syriac, unicode.Thaana, unicode.Nko)
}

var lookalikes = strings.NewReplacer("*", "∗", "~", "∼", "`", "ˋ")

// prose makes s safe in the middle of a mrkdwn line: asterisks and the like are shown by their look-alikes
// where they would format.
func prose(s string, n int) string {
	s = lookalikes.Replace(fit(s, n))
	// An underscore formats only at the edge of a word, and names are full of those inside.
	r := []rune(s)
	for i, c := range r {
		if c == '_' && (i == 0 || i == len(r)-1 || !wordly(r[i-1]) || !wordly(r[i+1])) {
			r[i] = 'ˍ'
		}
	}
	return string(r)
}

func wordly(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }

// code shows s in a code span of at most n characters, in which nothing is formatted.
func code(s string, n int) string {
	s = strings.ReplaceAll(fit(s, n), "`", "ˋ")
	if strings.TrimSpace(s) == "" {
		s = " "
	}
	return "`" + s + "`"
}

// codeName is code for a name that may be long: what is left out is left out of its middle, because names of one kind
// begin alike and differ at their ends.
func codeName(s string, n int) string { return code(middle(clean(s), n), n+10) }

// middle cuts s to at most n characters.
func middle(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	tail := n / 2
	return string(r[:n-tail-1]) + "…" + string(r[len(r)-tail:])
}

// codeBlock shows several lines of at most n characters together as they are.
func codeBlock(s string, n int) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	var b strings.Builder
	used := 0
	for i, l := range lines {
		indent := l[:len(l)-len(strings.TrimLeft(l, " "))]
		l = shorten(indent, 16) + fit(l, 300)
		if used += utf8.RuneCountInString(l) + 1; used > n {
			fmt.Fprintf(&b, "… %s more", plural(len(lines)-i, "line"))
			break
		}
		b.WriteString(l)
		b.WriteByte('\n')
	}
	return "```\n" + strings.ReplaceAll(strings.TrimRight(b.String(), "\n"), "`", "ˋ") + "\n```"
}

// link is a mrkdwn link, or "" where target is no web address that a person should follow.
func link(target, text string) string {
	if target == "" || len(target) > 1500 {
		return ""
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return ""
	}
	u.User = nil // whatever it was, it is not for a channel
	safe := strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C", "`", "%60", " ", "%20").Replace(u.String())
	if clean(safe) != safe {
		return ""
	}
	return "<" + safe + "|" + text + ">"
}

// when is an instant in the reader's own time zone, and in UTC where a client cannot say. With day, the
// date stands before it.
func when(t time.Time, day bool) string {
	utc := t.UTC()
	if day {
		return fmt.Sprintf("<!date^%d^{date_short_pretty} {time}|%s>", utc.Unix(), utc.Format("2006-01-02 15:04 UTC"))
	}
	return fmt.Sprintf("<!date^%d^{time}|%s>", utc.Unix(), utc.Format("15:04 UTC"))
}

// moment is when, with the date where t is not within half a day of now.
func moment(t, now time.Time) string {
	return when(t, t.Sub(now).Abs() > 12*time.Hour)
}

// span is a duration for people: two units at most.
func span(d time.Duration) string {
	switch d = d.Abs(); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour && d%time.Minute < time.Second:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 10*time.Minute:
		return fmt.Sprintf("%dm %ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh %dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd %dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// spanFine is span, and says something of what took less than a second.
func spanFine(d time.Duration) string {
	if d = d.Abs(); d < time.Second {
		return fmt.Sprintf("%d ms", max(1, d.Milliseconds()))
	}
	return span(d)
}

// number shortens a sample's value to four significant digits; NaN and infinities stay as they are.
func number(s string) string {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	if short := strconv.FormatFloat(f, 'g', 4, 64); len(short) < len(s) && !strings.Contains(short, "e") {
		return short
	}
	return s
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}
