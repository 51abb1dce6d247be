package oncall

import "testing"

func TestCalendarToken(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	for _, c := range []CalendarOf{{User: "ana"}, {Schedule: "ana"}, {Schedule: "a/b ü.ics"}} {
		token := CalendarToken(key, c)
		if got, ok := CheckCalendar(key, token); !ok || got != c {
			t.Errorf("%+v came back as %+v, %v", c, got, ok)
		}
		for _, bad := range []string{"", token[:len(token)-1], token + "a", "x" + token, CalendarToken([]byte("another key"), c)} {
			if got, ok := CheckCalendar(key, bad); ok || got != (CalendarOf{}) {
				t.Errorf("%q was taken as %+v", bad, got)
			}
		}
		if _, ok := CheckCalendar(nil, CalendarToken(nil, c)); ok {
			t.Error("taken without a key")
		}
	}
}
