package oncall

import "slices"

// Sent is what an attempt asked of a far end, as far as people may see it. It is shown in the log of deliveries and
// nowhere else: pages and messages have no room for it.
type Sent struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`               // with its host; path and query, which may be secrets, are left out
	Headers map[string]string `json:"headers,omitempty"` // in lower case; signatures and what may be a secret are masked
}

// withoutRequests is a timeline without what its attempts sent.
func withoutRequests(all []TimelineEntry) []TimelineEntry {
	copied := false
	for i, e := range all {
		if e.Attempt == nil || e.Attempt.Sent == nil {
			continue
		}
		if !copied {
			all, copied = slices.Clone(all), true
		}
		a := *e.Attempt
		a.Sent = nil
		all[i].Attempt = &a
	}
	return all
}
