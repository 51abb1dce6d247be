package pager

import (
	"encoding/xml"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"

	"tocsin/oncall"
)

// What a call and an SMS say.

var (
	incidentRef = regexp.MustCompile(`#(\d+)`)
	camel       = regexp.MustCompile(`([a-z0-9])([A-Z])`)
	measure     = regexp.MustCompile(`(\d)\s?(KiB|MiB|GiB|TiB|kB|MB|GB|TB|ms|s|m|h|d|%)(/s)?(\W|$)`)
	unspoken    = regexp.MustCompile(`[^\pL\pN .,:;!?'()+-]+`)
	unitWords   = map[string]string{
		"KiB": "kibibytes", "MiB": "mebibytes", "GiB": "gibibytes", "TiB": "tebibytes", "kB": "kilobytes", "MB": "megabytes", "GB": "gigabytes", "TB": "terabytes",
		"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "%": "percent",
	}
)

// pronounceable is a text as a voice can read it.
func pronounceable(s string) string {
	s = strings.ToValidUTF8(s, "")
	s = incidentRef.ReplaceAllString(s, "incident $1")
	for range 2 { // neighbours share the character between them
		s = measure.ReplaceAllStringFunc(s, func(m string) string {
			p := measure.FindStringSubmatch(m)
			if p[3] != "" {
				p[3] = " per second"
			}
			return p[1] + " " + unitWords[p[2]] + p[3] + p[4]
		})
	}
	s = camel.ReplaceAllString(s, "$1 $2")
	s = strings.NewReplacer(">=", " at least ", "<=", " at most ", ">", " above ", "<", " below ", "=", " is ", "_", " ", "&", " and ").Replace(s)
	return oneLine(unspoken.ReplaceAllString(s, " "))
}

const maxSpoken = 400 // characters of a title

// spokenSummary is what a call says of an incident.
func spokenSummary(p oncall.Page) string {
	if p.Data.Page.Test && !p.Data.Drill {
		return "This is tocsin with a test. Nothing is wrong. " + sentence(pronounceable(cut(p.Data.Title, maxSpoken)))
	}
	s := "This is tocsin. "
	if p.Data.Drill {
		return fmt.Sprintf("This is tocsin with a drill. Nothing is wrong. Drill %d tries whether a call reaches you. ", p.Data.Number)
	}
	if p.Data.Severity != "" {
		s += sentence(pronounceable(p.Data.Severity))
	}
	s += fmt.Sprintf("Incident %d. ", p.Data.Number) + sentence(pronounceable(cut(p.Data.Title, maxSpoken)))
	if n := p.Data.AlertsFiring; n > 1 {
		s += fmt.Sprintf("%d alerts are firing. ", n)
	}
	if p.Data.Page.Round > 0 {
		s += "Nobody has acknowledged it yet. "
	}
	return s
}

func sentence(s string) string { return strings.TrimRight(s, ".!? ") + ". " }

// menu says what can be pressed. A drill escalates to nobody.
func menu(p oncall.Page) string {
	if p.Data.Drill {
		return "Press 4 to acknowledge. Press 1 to hear this again."
	}
	return "Press 4 to acknowledge. Press 6 to escalate. Press 1 to hear this again."
}

// spoken is the TwiML of a call: the summary twice, while a key is waited for. It goes out with the call, so that a person hears it
// even where tocsin cannot be reached by then. back is where keys are reported, "" for nowhere.
func spoken(p oncall.Page, language, back string, attempt int) string {
	text := say(language, spokenSummary(p))
	if back == "" {
		return response(text + `<Pause length="1"/>` + text)
	}
	keys := say(language, menu(p))
	return response(gather(back, attempt, text+keys+`<Pause length="1"/>`+text+keys) +
		say(language, "No key was pressed, and so nobody has acknowledged it. Goodbye."))
}

// gather waits for one key while it says something.
func gather(back string, attempt int, what string) string {
	return `<Gather input="dtmf" numDigits="1" timeout="6" method="POST" action="` + escaped(back+"/digit?attempt="+strconv.Itoa(attempt)) + `">` + what + `</Gather>`
}

func response(what string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><Response>` + what + `</Response>`
}

// say speaks a text. A voice with nothing to say is an error to Twilio.
func say(language, text string) string {
	if strings.TrimSpace(text) == "" {
		return ""
	}
	return `<Say language="` + escaped(language) + `">` + escaped(strings.TrimSpace(text)) + `</Say>`
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}

// Characters of GSM 03.38, which count one each, and of its extension, which count two.
const (
	gsmBasic    = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtended = "^{}\\[~]|€"
)

// Room of an SMS: two parts in GSM's own characters; four in UCS-2, where a part holds less than half as much.
const (
	maxSeptets = 2 * 153
	maxUnits   = 4 * 67
)

// plainer spells what editors make of plain characters: one dash would more than halve the room of a message.
var plainer = strings.NewReplacer("–", "-", "—", "-", "−", "-", "“", `"`, "”", `"`, "„", `"`, "‘", "'", "’", "'", "…", "...", "\u00a0", " ", "•", "-", "→", "->", "≥", ">=", "≤", "<=")

// smsFits reports whether a text fits the room of one message.
func smsFits(s string) bool {
	n, gsm := 0, true
	for _, r := range s {
		switch {
		case strings.ContainsRune(gsmBasic, r):
			n++
		case strings.ContainsRune(gsmExtended, r):
			n += 2
		default:
			gsm = false
		}
	}
	if gsm {
		return n <= maxSeptets
	}
	return len(utf16.Encode([]rune(s))) <= maxUnits
}

// written is the text of an SMS. What is cut is the title.
func written(p oncall.Page) string {
	head, tail := fmt.Sprintf("#%d ", p.Data.Number), ""
	switch {
	case p.Data.Page.Test && !p.Data.Drill:
		head, tail = "", " (a test: nothing is wrong)"
	case p.Type == "incident."+string(oncall.KindAcknowledged):
		head += "acknowledged by " + cut(p.Data.AcknowledgedBy, 40) + ": "
	case p.Type == "incident."+string(oncall.KindResolved):
		head += "resolved: "
	default:
		if p.Data.Drill {
			head += "DRILL, nothing is wrong: "
		} else if p.Data.Severity != "" {
			head += strings.ToUpper(cut(p.Data.Severity, 20)) + ": "
		}
		if n := p.Data.AlertsFiring; n > 1 {
			tail = fmt.Sprintf(" (%d alerts)", n)
		}
		tail += fmt.Sprintf(`. Reply "ack %d"`, p.Data.Number)
	}
	if len(p.Data.URL) <= 80 && p.Data.URL != "" && tail != "" && !p.Data.Page.Test {
		tail += " " + p.Data.URL
	}
	head, tail = plainer.Replace(head), plainer.Replace(tail)
	title := []rune(plainer.Replace(oneLine(strings.ToValidUTF8(p.Data.Title, "?"))))
	if s := head + string(title) + tail; smsFits(s) {
		return s
	}
	for len(title) > 0 && !smsFits(head+string(title)+"..."+tail) {
		title = title[:len(title)-1]
	}
	return head + string(title) + "..." + tail
}
