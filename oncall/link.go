package oncall

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// LinkToken makes the token of a delivery's acknowledge link: the delivery's key and an HMAC-SHA256 of it.
// The key alone cannot be turned into a link.
func LinkToken(linkKey []byte, deliveryKey string) string {
	return strings.TrimPrefix(deliveryKey, "msg_") + "." + linkMAC(linkKey, deliveryKey)
}

// CheckLink returns the delivery that a token was made for, and whether it was made by us.
func CheckLink(linkKey []byte, token string) (deliveryKey string, ok bool) {
	id, mac, found := strings.Cut(token, ".")
	if !found || id == "" || len(linkKey) == 0 {
		return "", false
	}
	key := "msg_" + id
	if !hmac.Equal([]byte(mac), []byte(linkMAC(linkKey, key))) {
		return "", false
	}
	return key, true
}

func linkMAC(linkKey []byte, deliveryKey string) string {
	h := hmac.New(sha256.New, linkKey)
	h.Write([]byte("ack link|" + deliveryKey))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}
