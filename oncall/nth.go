package oncall

import "strconv"

// Nth is the ordinal by which people are told of a tier or a round that is counted from 0: Nth(1) is "second".
// Numbers (page.tier, tiers[1] of a file) count from 0 everywhere; sentences never show them, because who is woken
// by "tier 1" takes it for the first.
func Nth(i int) string {
	words := [...]string{"first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"}
	if i >= 0 && i < len(words) {
		return words[i]
	}
	n := i + 1
	ending := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			ending = "st"
		case 2:
			ending = "nd"
		case 3:
			ending = "rd"
		}
	}
	return strconv.Itoa(n) + ending
}
