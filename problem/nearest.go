package problem

import (
	"slices"
	"strings"
)

// Nearest returns the candidate that a person most likely meant by name, or "" when none is near. Case,
// dashes and underscores count little; two swapped letters count as one mistake.
func Nearest(name string, candidates []string) string {
	best, bestDistance := "", 1+max(1, len([]rune(name))/3)
	for _, c := range candidates {
		if c == name {
			continue
		}
		d := distance([]rune(fold(name)), []rune(fold(c)), bestDistance)
		if d < bestDistance || d == bestDistance && best != "" && c < best {
			best, bestDistance = c, d
		}
	}
	return best
}

// DidYouMean is the hint for an unknown name: the nearest candidate, else all of them where they are few,
// else nothing.
func DidYouMean(name string, candidates []string) string {
	if near := Nearest(name, candidates); near != "" {
		return `did you mean "` + near + `"?`
	}
	sorted := slices.Clone(candidates)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	const few = 15
	if len(sorted) == 0 || len(sorted) > few {
		return ""
	}
	return "known here: " + strings.Join(sorted, ", ")
}

var separators = strings.NewReplacer("-", "_", " ", "_")

func fold(s string) string { return separators.Replace(strings.ToLower(s)) }

// distance is the number of insertions, deletions, substitutions and swaps of neighbours that turn a into
// b; lengths that differ by more than limit are not compared.
func distance(a, b []rune, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, previous, current := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return previous[len(b)]
}
