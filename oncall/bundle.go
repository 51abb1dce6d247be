package oncall

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Bundles. In a storm one delivery, the carrier, goes for others to the same endpoint and target, its members, so that
// a person is woken once and not a thousand times. What is carried is settled at the claim of the carrier's first
// attempt, in its transaction, and stays so over all attempts and crashes. The members count as attempted from then on;
// how the carrier ends decides about them (AfterBundle).

// MaxListed is how many incidents of a bundle are listed at most. Counts are exact whatever their number.
const MaxListed = 200

// Bundle is what one delivery carries.
type Bundle struct {
	Key     string                // the carrier's
	Count   int                   // incidents, the carrier's included: exact
	States  map[IncidentState]int // how many of them are in which state: exact
	Members []BundleMember        // the carrier's incident first, then by number; at most MaxListed
}

// BundleMember is one incident of a bundle, as it stands when it is read.
type BundleMember struct {
	Delivery string // its own delivery's key
	Round    int    // of that
	Tier     int
	Incident Incident // without its rows
	Body     []byte   // of a reply
}

// bundling are the kinds of endpoints whose far ends take several incidents in one message. All others know an incident
// by a key of its own.
var bundling = map[string]bool{"slack": true, "page": true, "ntfy": true}

// Lane is what a delivery that was never attempted may be bundled by, together with its endpoint: its target. "" for one
// that goes by itself.
func (d *Delivery) Lane() string {
	if !bundling[d.Endpoint.Kind()] || d.Kind != KindTriggered && d.Kind != KindMessage {
		return ""
	}
	return cmp.Or(d.Target, d.User)
}

// Others is for how many incidents a delivery goes beside its own.
func (d *Delivery) Others() int { return max(d.Bundled-1, 0) }

// ClaimRequest says what a process can send now.
type ClaimRequest struct {
	Limit int // deliveries at most; what they carry is not counted
	// Free says how many more deliveries an endpoint can take now: of those that were never attempted and may be bundled
	// for a target, or of all others for "". It is called in the transaction and must change nothing.
	Free func(e Endpoint, target string) int
	// Freeze returns the body of a carrier of a kind that has one. nil: its own stays.
	Freeze func(carrier Delivery, b Bundle) []byte
}

// Claimed is what a claim yielded.
type Claimed struct {
	Claims []Claim
	Ended  []string  // keys of carriers that have ended while members of theirs are not settled yet
	Next   time.Time // the earliest NextAt of what could be claimed but for its time; zero: none
}

// AfterBundle says what becomes of a member when its carrier has ended with an attempt, and gives that as an attempt of
// the member's own. What nobody would have taken is refused as the carrier was. Where the far end may have minded the
// bundle and not the page, the member goes by itself, unless nobody needs it any more.
func AfterBundle(now time.Time, in Incident, member, carrier Delivery, a Attempt) (DeliveryState, time.Time, Attempt) {
	a.Number = max(carrier.Attempts, 1)
	a.Sent, a.RetryAfter, a.Revision = nil, 0, 0
	switch {
	case carrier.State == DeliveryDelivered, carrier.State == DeliveryAccepted:
		return carrier.State, time.Time{}, a
	case carrier.State == DeliveryRefused && (a.closed() || carrier.Confirmation == ConfirmationFailed):
		return DeliveryRefused, time.Time{}, a
	case !wants(in, member):
		return DeliveryDropped, time.Time{}, a
	}
	return DeliveryQueued, now, a
}

// closed reports that the far end took nothing, whatever was sent: trying the members one by one would change nothing.
func (a *Attempt) closed() bool {
	switch a.Outcome {
	case OutcomeRetry, OutcomeUnknown: // given up after a day
		return true
	case OutcomeGone:
		return true
	}
	switch a.Status {
	case 401, 403, 404, 405, 407: // who asks, where, and how: not what
		return true
	}
	return a.Closed || a.Status >= 300 && a.Status < 400
}

// wants reports whether a delivery that asks is still of use.
func wants(in Incident, d Delivery) bool {
	switch {
	case in.State == IncidentTriggered:
		return true
	case in.Open() && d.Kind == KindMessage && d.User == "":
		return true // a channel's message informs more than one person
	}
	for _, n := range in.Notifications {
		for _, t := range n.Tries {
			for _, key := range t.Keys {
				if key == d.Key {
					return true // somebody was asked to help
				}
			}
		}
	}
	return false
}

// PageBundle is what a page goes for, where that is more than one incident.
type PageBundle struct {
	Count     int            `json:"count"` // exact, also where incidents is shortened
	Incidents []PageIncident `json:"incidents"`
}

// PageIncident is one incident of a bundle. AckURL acknowledges it alone.
type PageIncident struct {
	Number   int64  `json:"number"`
	Key      string `json:"key"`
	Title    string `json:"title"`
	Severity string `json:"severity"`
	Tier     int    `json:"tier"`
	Round    int    `json:"round"`
	URL      string `json:"url,omitempty"`
	AckURL   string `json:"ack_url"`
}

// FreezeBundle writes the body of a page that goes for all incidents of a bundle, which is put together now, from the
// carrier's own: nil where no page can be read from that.
func FreezeBundle(now time.Time, p Policy, carrier Delivery, b Bundle) []byte {
	var page Page
	if err := json.Unmarshal(carrier.Body, &page); err != nil {
		return nil
	}
	own := page.Data.Title
	page.Timestamp = now.UTC()
	page.Data.Title = BundleTitle(b.Count, own)
	all := PageBundle{Count: b.Count, Incidents: []PageIncident{}}
	page.Data.Page.AckURL = p.AckURL(carrier.Key + allMark)
	page.Data.Page.Bundle = &all
	shorten := page.Data.IncidentView
	shorten.Alerts = shorten.Alerts[:min(len(shorten.Alerts), 3)]
	shorten.Timeline = shorten.Timeline[max(0, len(shorten.Timeline)-5):]
	shorten.Deliveries = shorten.Deliveries[max(0, len(shorten.Deliveries)-2):]
	page.Data.IncidentView = shorten
	body := fitPage(page)
	if len(body) >= MaxPage {
		return body
	}
	if err := json.Unmarshal(body, &page); err != nil { // as short as it had to be
		return nil
	}
	all = *page.Data.Page.Bundle
	page.Data.Page.Bundle = &all
	room := MaxPage - 1 - len(body)
	for _, m := range b.Members {
		title := m.Incident.Title
		if m.Delivery == carrier.Key {
			title = own
		}
		one := PageIncident{
			Number: m.Incident.Number, Key: m.Incident.Key, Title: truncate(title, 120), Severity: truncate(m.Incident.Severity, 40), Tier: m.Tier, Round: m.Round,
			URL: incidentURL(p, m.Incident.Number), AckURL: p.AckURL(m.Delivery),
		}
		text, err := json.Marshal(one)
		if room -= len(text) + 1; err != nil || room < 0 {
			break
		}
		all.Incidents = append(all.Incidents, one)
	}
	return marshalPage(page)
}

// BundleTitle is what a bundle is called.
func BundleTitle(count int, first string) string {
	return fmt.Sprintf("%d incidents, first: %s", count, first)
}

// allMark follows the key of a carrier in the token of a link that acknowledges all that it carried.
const allMark = "~all"

// BundleLink splits what CheckLink returned: the key of a delivery, and whether the link is for all that it carried.
func BundleLink(key string) (delivery string, all bool) { return strings.CutSuffix(key, allMark) }

// AckURL returns the acknowledge link of a delivery, by its key.
func (p Policy) AckURL(key string) string {
	return p.ExternalURL + "/hooks/ack/" + LinkToken(p.LinkKey, key)
}

func incidentURL(p Policy, number int64) string {
	if p.ExternalURL == "" {
		return ""
	}
	return fmt.Sprintf("%s/incidents/%d", p.ExternalURL, number)
}

// inBundle says with whom a delivery went, for people: " with 6 others in one page (msg_…)".
func inBundle(d Delivery) string {
	if d.Others() == 0 {
		return ""
	}
	what := "page"
	switch d.Kind {
	case KindMessage:
		what = "message"
	case KindEdit:
		what = "edit"
	}
	s := fmt.Sprintf(" with %s in one %s", count(d.Others(), "other", "others"), what)
	if d.Bundle != "" {
		s += " (" + d.Bundle + ")"
	}
	return s
}
