package demo

import (
	"html"
	"html/template"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// mrkdwn writes Slack's mrkdwn as HTML. Everything that is not markup known here is escaped. Times in
// <!date> are shown as story time: the real ones would mean nothing to a reader.
type mrkdwn struct {
	clock clock
	users map[string]string // Slack ID to name
}

// emoji are those that tocsin and people on call use; others are shown by name.
var emoji = map[string]string{
	"rotating_light": "🚨", "red_circle": "🔴", "large_yellow_circle": "🟡", "large_green_circle": "🟢",
	"large_orange_circle": "🟠", "white_check_mark": "✅", "eyes": "👀", "warning": "⚠️", "bell": "🔔",
	"no_bell": "🔕", "zzz": "💤", "arrow_up": "⬆️", "question": "❓", "fire": "🔥", "hourglass": "⌛",
	"large_blue_circle": "🔵", "white_circle": "⚪", "heavy_check_mark": "✔️", "x": "❌",
}

var (
	emojiName  = regexp.MustCompile(`:([a-z0-9_+-]{1,40}):`)
	boldText   = regexp.MustCompile(`(^|[\s(>])\*([^*\n]+)\*`)
	italicText = regexp.MustCompile(`(^|[\s(>])_([^_\n]+)_`)
	strikeText = regexp.MustCompile(`(^|[\s(>])~([^~\n]+)~`)
	plainDate  = regexp.MustCompile(`^!date\^(\d{1,12})\^([^|]*)(?:\|(.*))?$`)
)

// html renders text, which is escaped as Slack wants it (&amp; &lt; &gt;).
func (m mrkdwn) html(text string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(text, "```") {
		if i%2 == 1 {
			b.WriteString("<pre>" + escapeSlack(strings.Trim(part, "\n")) + "</pre>")
			continue
		}
		for j, span := range strings.Split(part, "`") {
			if j%2 == 1 && !strings.Contains(span, "\n") {
				b.WriteString("<code>" + escapeSlack(span) + "</code>")
				continue
			}
			b.WriteString(m.inline(span))
		}
	}
	return template.HTML(b.String()) //nolint:gosec // every piece above was escaped
}

// inline renders text outside code: links and mentions in < >, then emphasis, then line breaks.
func (m mrkdwn) inline(text string) string {
	var b strings.Builder
	var kept []string // finished HTML, out of the reach of emphasis
	keep := func(h string) { kept = append(kept, h); b.WriteString("\x00" + strconv.Itoa(len(kept)-1) + "\x00") }
	text = strings.ReplaceAll(text, "\x00", "")
	for {
		open := strings.IndexByte(text, '<')
		if open < 0 {
			break
		}
		end := strings.IndexByte(text[open:], '>')
		if end < 0 {
			break
		}
		b.WriteString(escapeSlack(text[:open]))
		keep(m.angle(text[open+1 : open+end]))
		text = text[open+end+1:]
	}
	b.WriteString(escapeSlack(text))
	out := b.String()
	out = boldText.ReplaceAllString(out, "$1<strong>$2</strong>")
	out = italicText.ReplaceAllString(out, "$1<em>$2</em>")
	out = strikeText.ReplaceAllString(out, "$1<s>$2</s>")
	out = emojiName.ReplaceAllStringFunc(out, func(s string) string {
		if e, ok := emoji[strings.Trim(s, ":")]; ok {
			return e
		}
		return s
	})
	for i, h := range kept {
		out = strings.Replace(out, "\x00"+strconv.Itoa(i)+"\x00", h, 1)
	}
	return strings.ReplaceAll(out, "\n", "<br>")
}

// angle renders what stands between < and >.
func (m mrkdwn) angle(s string) string {
	if d := plainDate.FindStringSubmatch(s); d != nil {
		return m.date(d[1], d[2], d[3])
	}
	target, label, named := strings.Cut(s, "|")
	switch {
	case strings.HasPrefix(target, "@"):
		name := m.users[target[1:]]
		if name == "" {
			name = target[1:]
		}
		return `<span class="mention">@` + escapeSlack(name) + `</span>`
	case strings.HasPrefix(target, "#") && named:
		return `<span class="mention">#` + escapeSlack(label) + `</span>`
	case strings.HasPrefix(target, "!"):
		return `<span class="mention">@` + escapeSlack(strings.TrimPrefix(target, "!")) + `</span>`
	case linkable(html.UnescapeString(target)):
		if !named {
			label = target
		}
		return `<a href="` + escapeSlack(target) + `" target="_blank" rel="noopener noreferrer">` + escapeSlack(label) + `</a>`
	}
	return escapeSlack("<" + s + ">")
}

// date renders <!date^unix^format|fallback> in story time.
func (m mrkdwn) date(unixSeconds, format, fallback string) string {
	n, err := strconv.ParseInt(unixSeconds, 10, 64)
	if err != nil {
		return escapeSlack(fallback)
	}
	t := m.clock.story(time.Unix(n, 0)).UTC()
	out, pretty := format, "2 Jan"
	switch days := t.Truncate(24*time.Hour).Sub(storyStart.Truncate(24*time.Hour)) / (24 * time.Hour); days {
	case -1, 0, 1:
		pretty = []string{"yesterday", "today", "tomorrow"}[days+1]
	}
	for token, layout := range map[string]string{
		"{time}": "15:04", "{time_secs}": "15:04:05", "{date_num}": "2006-01-02", "{date}": "2 January 2006",
		"{date_short}": "2 Jan 2006", "{date_long}": "Monday, 2 January 2006", "{date_pretty}": pretty,
		"{date_short_pretty}": pretty, "{date_long_pretty}": pretty,
	} {
		out = strings.ReplaceAll(out, token, t.Format(layout))
	}
	out = strings.ReplaceAll(out, "{ago}", "at "+hhmm(t))
	return `<time>` + escapeSlack(out) + `</time>`
}

// escapeSlack turns Slack-escaped text into escaped HTML, without escaping twice.
func escapeSlack(s string) string {
	return html.EscapeString(strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(s))
}
