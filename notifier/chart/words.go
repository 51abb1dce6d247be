package chart

import (
	"fmt"
	"strings"
	"time"
)

// maxWords bounds the description, in characters: far ends take little more as an alternative text.
const maxWords = 900

// Words say what the picture shows, for those who do not see it.
func (ch *Chart) Words() string {
	var s []string
	s = append(s, fmt.Sprintf("%s, %s to %s.", ch.Title, ch.From.UTC().Format("15:04"), ch.To.UTC().Format("15:04 UTC")))
	named := 0
	rest := ch.More
	for _, l := range ch.Lines {
		if l.Faint || named == 3 {
			rest++
			continue
		}
		named++
		s = append(s, ch.went(l))
	}
	if rest > 0 {
		s = append(s, fmt.Sprintf("%d more series.", rest))
	}
	if w := ch.limitWords(); w != "" {
		s = append(s, strings.ToUpper(w[:1])+w[1:]+".")
	}
	for _, m := range []struct {
		word string
		at   time.Time
	}{{"Pending since", ch.Pending}, {"Firing since", ch.Firing}, {"Resolved at", ch.Resolved}} {
		if !m.at.IsZero() {
			s = append(s, m.word+" "+m.at.UTC().Format("15:04 UTC")+".")
		}
	}
	if ch.Forecast != nil {
		s = append(s, "At this pace it reaches "+ch.Unit.Format(ch.Forecast.Level)+" "+ch.moment(ch.Forecast.Reach, nil)+".")
	}
	out := []rune(strings.Join(s, " "))
	if len(out) > maxWords {
		out = append(out[:maxWords-1], '…')
	}
	return string(out)
}

// went says how a line went.
func (ch *Chart) went(l Line) string {
	ps := finite(l.Points)
	if len(ps) == 0 {
		return l.Name + ": no data."
	}
	first, now := ps[0].Value, ps[len(ps)-1].Value
	a, b := ch.Unit.Format(first), ch.Unit.Format(now)
	switch {
	case a == b:
		return fmt.Sprintf("%s: %s.", l.Name, a)
	case now > first:
		return fmt.Sprintf("%s rose from %s to %s.", l.Name, a, b)
	}
	return fmt.Sprintf("%s fell from %s to %s.", l.Name, a, b)
}

// Now is the latest of the first line in a few words: "session-1:9100 at 83.5 %"; "" where it has no value.
func (ch *Chart) Now() string {
	if len(ch.Lines) == 0 {
		return ""
	}
	v, ok := last(ch.Lines[0].Points)
	if !ok {
		return ""
	}
	if ch.Lines[0].Name == "" {
		return ch.Unit.Format(v.Value)
	}
	return ch.Lines[0].Name + " at " + ch.Unit.Format(v.Value)
}
