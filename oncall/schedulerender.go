package oncall

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// RenderWeek draws seven days of a schedule as text for a terminal, from the day of from on in the schedule's
// zone: for each day an hour a letter, and beside it the exact times. It reads no clock; now, where it lies in
// the week, is pointed at.
func (s *Schedule) RenderWeek(overrides []Override, from, now time.Time) string {
	loc := s.location()
	first := wallOf(from, loc).Truncate(day)
	return RenderShifts(s.Name, loc, s.Shifts(overrides, instantOf(first, loc), instantOf(first.Add(7*day), loc)), from, now)
}

// RenderShifts is RenderWeek of a schedule of which the shifts are known, over the whole week at least.
func RenderShifts(name string, loc *time.Location, all []Shift, from, now time.Time) string {
	first := wallOf(from, loc).Truncate(day)
	begin, end := instantOf(first, loc), instantOf(first.Add(7*day), loc)
	var shifts []Shift
	for _, shift := range all {
		shift.From, shift.To = later(shift.From, begin).In(loc), shift.To.In(loc)
		if end.Before(shift.To) {
			shift.To = end.In(loc)
		}
		if shift.From.Before(shift.To) {
			shifts = append(shifts, shift)
		}
	}
	letters := lettersOf(shifts)

	var b strings.Builder
	fmt.Fprintf(&b, "%s · %s – %s · %s\n\n", name, first.Format("Mon 2 Jan"), first.Add(6*day).Format("Mon 2 Jan 2006"), loc)
	b.WriteString("              0     6     12    18\n")
	for i := range 7 {
		renderDay(&b, loc, first.Add(time.Duration(i)*day), shifts, letters, now)
	}
	b.WriteString("\n")
	renderLegend(&b, shifts, letters)
	renderNotes(&b, shifts)
	return b.String()
}

// RenderShift says in one line who is on call, until when, and why.
func (s *Schedule) RenderShift(shift Shift) string {
	line := s.Name + ": " + shift.Who()
	if len(shift.Shadows) > 0 {
		line += " (shadowed by " + strings.Join(shift.Shadows, ", ") + ")"
	}
	if !shift.To.IsZero() {
		line += " until " + shift.To.In(s.location()).Format("Mon 2 Jan 15:04 MST")
	}
	return line + ": " + shift.Why()
}

// letterOf stands for the people of a shift: one letter each, "+" for several at once, "." for nobody.
func letterOf(shift Shift, letters map[string]rune) rune {
	switch len(shift.Users) {
	case 0:
		return '.'
	case 1:
		return letters[shift.Users[0]]
	}
	return '+'
}

// lettersOf gives each user a letter, if possible of their own name.
func lettersOf(shifts []Shift) map[string]rune {
	letters, taken := map[string]rune{}, map[rune]bool{}
	var users []string
	for _, shift := range shifts {
		users = append(users, shift.Users...)
	}
	slices.Sort(users)
	const others = "abcdefghijklmnopqrstuvwxyz0123456789"
	for _, u := range slices.Compact(users) {
		letters[u] = '#' // for whom none is left
		for _, r := range strings.ToLower(u) + strings.ToUpper(u) + others + strings.ToUpper(others) {
			if !taken[r] && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
				letters[u], taken[r] = r, true
				break
			}
		}
	}
	return letters
}

// renderDay draws the day of the wall that begins at midnight, a wall time. An hour that the wall skips is blank;
// of one that it shows twice, the first is drawn.
func renderDay(b *strings.Builder, loc *time.Location, midnight time.Time, shifts []Shift, letters map[string]rune, now time.Time) {
	begin, end := instantOf(midnight, loc), instantOf(midnight.Add(day), loc)
	mark := ' '
	if !now.Before(begin) && now.Before(end) {
		mark = '>'
	}
	fmt.Fprintf(b, "%c %s  ", mark, midnight.Format("Mon _2 Jan"))
	for h := range 24 {
		w := midnight.Add(time.Duration(h) * time.Hour)
		at := instantOf(w, loc)
		i := slices.IndexFunc(shifts, func(shift Shift) bool { return at.Before(shift.To) })
		if i < 0 || wallOf(at, loc).Sub(w) >= time.Hour {
			b.WriteRune(' ')
			continue
		}
		b.WriteRune(letterOf(shifts[i], letters))
	}
	var parts []string
	for _, shift := range shifts {
		if !shift.From.Before(end) || !begin.Before(shift.To) || !begin.Before(end) {
			continue
		}
		if last := len(parts) - 1; last >= 0 {
			parts[last] += " until " + shift.From.In(loc).Format("15:04")
		}
		parts = append(parts, shift.Who())
	}
	b.WriteString("  " + strings.Join(parts, ", "))
	switch length := end.Sub(begin); length {
	case day:
	case 0:
		b.WriteString("(clocks change: there is no such day)")
	default:
		fmt.Fprintf(b, " (clocks change: this day has %s)", hours(length))
	}
	b.WriteString("\n")
}

// hours writes a duration as people say it: "23 h", "15 h 30 min".
func hours(d time.Duration) string {
	h, m := int(d/time.Hour), int(d%time.Hour/time.Minute)
	if m == 0 {
		return fmt.Sprintf("%d h", h)
	}
	return fmt.Sprintf("%d h %d min", h, m)
}

func renderLegend(b *strings.Builder, shifts []Shift, letters map[string]rune) {
	on := map[string]time.Duration{}
	var users []string
	var several, nobody bool
	for _, shift := range shifts {
		for _, u := range shift.Users {
			if _, ok := on[u]; !ok {
				users = append(users, u)
			}
			on[u] += shift.To.Sub(shift.From)
		}
		several, nobody = several || len(shift.Users) > 1, nobody || len(shift.Users) == 0
	}
	longest := 0
	for _, u := range users {
		longest = max(longest, utf8.RuneCountInString(u))
	}
	for _, u := range users {
		pad := strings.Repeat(" ", longest-utf8.RuneCountInString(u))
		fmt.Fprintf(b, "%c %s%s  %s\n", letters[u], u, pad, hours(on[u]))
	}
	if several {
		b.WriteString("+ several together\n")
	}
	if nobody {
		b.WriteString(". nobody\n")
	}
}

// renderNotes lists what needs attention: gaps, what people changed, and shadows; each once for as long as it
// lasts, over handoffs.
func renderNotes(b *strings.Builder, shifts []Shift) {
	type note struct {
		Period
		text string
	}
	var notes []note
	for _, shift := range shifts {
		var texts []string
		if len(shift.Users) == 0 {
			texts = append(texts, "nobody is on call")
		}
		for _, o := range shift.Overrides {
			texts = append(texts, o.String())
		}
		if len(shift.Shadows) > 0 {
			texts = append(texts, "shadowed by "+strings.Join(shift.Shadows, ", "))
		}
		for _, text := range texts {
			i := slices.IndexFunc(notes, func(n note) bool { return n.text == text && n.To.Equal(shift.From) })
			if i < 0 {
				notes = append(notes, note{shift.Period, text})
			} else {
				notes[i].To = shift.To
			}
		}
	}
	if len(notes) > 0 {
		b.WriteString("\n")
	}
	for _, n := range notes {
		const at = "Mon 2 Jan 15:04"
		fmt.Fprintf(b, "%s – %s: %s\n", n.From.Format(at), n.To.Format(at), n.text)
	}
}
