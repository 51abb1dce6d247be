package oncall

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// CalendarOf says whose calendar a feed is: a user's, or a schedule's. Exactly one is set.
type CalendarOf struct{ User, Schedule string }

// Name is the text that tells whose it is: "user/ana", "schedule/primary".
func (c CalendarOf) Name() string {
	if c.User != "" {
		return "user/" + c.User
	}
	return "schedule/" + c.Schedule
}

// CalendarToken makes the secret part of a feed's address: whose it is, and an HMAC-SHA256 of that and of how often its
// addresses were revoked before. It never expires by itself.
func CalendarToken(linkKey []byte, c CalendarOf, revoked int64) string {
	return base64.RawURLEncoding.EncodeToString([]byte(c.Name())) + "." + calendarMAC(linkKey, c, revoked)
}

// CalendarTokenOf returns whose feed a token claims to be for. CheckCalendar says whether it is.
func CalendarTokenOf(token string) (c CalendarOf, ok bool) {
	encoded, _, found := strings.Cut(token, ".")
	name, err := base64.RawURLEncoding.DecodeString(encoded)
	if !found || err != nil {
		return c, false
	}
	switch kind, of, _ := strings.Cut(string(name), "/"); kind {
	case "user":
		c.User = of
	case "schedule":
		c.Schedule = of
	}
	return c, c != CalendarOf{}
}

// CheckCalendar reports whether a token was made by us, and not revoked since.
func CheckCalendar(linkKey []byte, token string, revoked int64) bool {
	c, ok := CalendarTokenOf(token)
	_, mac, _ := strings.Cut(token, ".")
	return ok && len(linkKey) > 0 && hmac.Equal([]byte(mac), []byte(calendarMAC(linkKey, c, revoked)))
}

func calendarMAC(linkKey []byte, c CalendarOf, revoked int64) string {
	h := hmac.New(sha256.New, linkKey)
	h.Write([]byte("calendar|" + c.Name()))
	if revoked > 0 { // addresses from before there was revoking stay good
		fmt.Fprintf(h, "|%d", revoked)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}
