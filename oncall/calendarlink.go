package oncall

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// CalendarOf says whose calendar a feed is: a user's, or a schedule's. Exactly one is set.
type CalendarOf struct{ User, Schedule string }

func (c CalendarOf) name() string {
	if c.User != "" {
		return "user/" + c.User
	}
	return "schedule/" + c.Schedule
}

// CalendarToken makes the secret part of a feed's address: whose it is, and an HMAC-SHA256 of that. It never expires.
func CalendarToken(linkKey []byte, c CalendarOf) string {
	return base64.RawURLEncoding.EncodeToString([]byte(c.name())) + "." + calendarMAC(linkKey, c)
}

// CheckCalendar returns whose feed a token was made for, and whether it was made by us.
func CheckCalendar(linkKey []byte, token string) (c CalendarOf, ok bool) {
	encoded, mac, found := strings.Cut(token, ".")
	name, err := base64.RawURLEncoding.DecodeString(encoded)
	if !found || err != nil || len(linkKey) == 0 {
		return c, false
	}
	switch kind, of, _ := strings.Cut(string(name), "/"); kind {
	case "user":
		c.User = of
	case "schedule":
		c.Schedule = of
	}
	if c == (CalendarOf{}) || !hmac.Equal([]byte(mac), []byte(calendarMAC(linkKey, c))) {
		return CalendarOf{}, false
	}
	return c, true
}

func calendarMAC(linkKey []byte, c CalendarOf) string {
	h := hmac.New(sha256.New, linkKey)
	h.Write([]byte("calendar|" + c.name()))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}
