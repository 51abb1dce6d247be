package oncall

import "testing"

func TestNth(t *testing.T) {
	for i, want := range map[int]string{0: "first", 1: "second", 9: "tenth", 10: "11th", 11: "12th", 12: "13th", 20: "21st",
		21: "22nd", 22: "23rd", 23: "24th", 110: "111th", 100: "101st"} {
		if got := Nth(i); got != want {
			t.Errorf("Nth(%d) = %q, want %q", i, got, want)
		}
	}
}
