package oncall

import "testing"

func TestCalendarToken(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	for _, c := range []CalendarOf{{User: "ana"}, {Schedule: "ana"}, {Schedule: "a/b ü.ics"}, {User: "ana|1"}} {
		token := CalendarToken(key, c, 0)
		if got, ok := CalendarTokenOf(token); !ok || got != c || !CheckCalendar(key, token, 0) {
			t.Errorf("%+v came back as %+v, %v", c, got, ok)
		}
		for _, bad := range []string{"", token[:len(token)-1], token + "a", "x" + token, CalendarToken([]byte("another key"), c, 0)} {
			if CheckCalendar(key, bad, 0) {
				t.Errorf("%q was taken", bad)
			}
		}
		if CheckCalendar(nil, CalendarToken(nil, c, 0), 0) {
			t.Error("taken without a key")
		}
		if CheckCalendar(key, token, 1) || CheckCalendar(key, CalendarToken(key, c, 1), 2) || !CheckCalendar(key, CalendarToken(key, c, 2), 2) {
			t.Error("revoking does not say which address is good")
		}
	}
}
