package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"

	"tocsin/config"
	"tocsin/oncall"
)

// addresses marks what stands behind endpoints, so that what a drill found out is not taken for true of another address.
// A mark is a keyed hash of where the endpoint leads, which may be a secret; how it is spoken to does not count.
func addresses(plan *config.Plan, key []byte) map[oncall.Endpoint]string {
	mark := func(e oncall.Endpoint, address string) string {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "address of %q: %q", e, address)
		return hex.EncodeToString(mac.Sum(nil)[:8])
	}
	all := map[oncall.Endpoint]string{}
	for e, c := range plan.Pages {
		all[e] = mark(e, c.URL.String())
	}
	for e, c := range plan.Twilio {
		all[e] = mark(e, fmt.Sprintf("%s %q %q", c.URL, c.Account, c.To))
	}
	for e, c := range plan.Ntfy {
		all[e] = mark(e, fmt.Sprintf("%s %q", c.URL, c.Topic))
	}
	maps.Copy(all, plan.Alertmanager.Addresses(mark))
	return all
}
