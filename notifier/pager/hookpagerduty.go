package pager

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"tocsin/oncall"
)

// pdReport is a Webhooks v3 report.
type pdReport struct {
	Event struct {
		ID         string    `json:"id"`
		Type       string    `json:"event_type"`
		OccurredAt time.Time `json:"occurred_at"`
		Agent      *pdRef    `json:"agent"`
		Data       struct {
			ID          string  `json:"id"`
			IncidentKey string  `json:"incident_key"`
			Content     string  `json:"content"` // of a note
			Assignees   []pdRef `json:"assignees"`
			Incident    pdRef   `json:"incident"` // of a note
		} `json:"data"`
	} `json:"event"`
}

type pdRef struct {
	ID      string `json:"id"`
	Summary string `json:"summary"`
	Type    string `json:"type"`
}

// maxReportAge is how old a report may be. Its identity is remembered for 24 hours, so that one which is sent once more by
// somebody who has overheard it does nothing.
const maxReportAge = 23 * time.Hour

// readPagerDuty verifies and reads a report of PagerDuty's. forbidden: it is not authentic.
func (h *Hooks) readPagerDuty(r *http.Request, body []byte, hook Hook) (rep report, err error) {
	if !signedBy(hook.Secrets, r.Header.Get("X-PagerDuty-Signature"), body) {
		return rep, oncall.Errorf(oncall.CodeForbidden, "no signature matches: is the secret that of this webhook subscription?")
	}
	var in pdReport
	if err := json.Unmarshal(body, &in); err != nil || in.Event.Type == "" {
		return rep, oncall.Errorf(oncall.CodeInvalid, "this is no Webhooks v3 report")
	}
	e := in.Event
	if e.Type == "pagey.ping" {
		return rep, nil
	}
	id := e.ID // signed, as the header is not
	if id == "" {
		id = r.Header.Get("X-Webhook-Id")
	}
	if id == "" || e.OccurredAt.IsZero() {
		return rep, oncall.Errorf(oncall.CodeInvalid, "the report has no identity or time")
	}
	if time.Since(e.OccurredAt) > maxReportAge {
		return rep, nil // acted upon long ago, or nobody's wish any more
	}
	rep.request, rep.key, rep.at = "pagerduty "+id, e.Data.IncidentKey, e.OccurredAt
	h.known.learn(e.Data.ID, e.Data.IncidentKey)
	if e.Agent != nil && !machine(e.Agent.Type) {
		rep.who = names(e.Agent.Summary, e.Agent.ID)
	}
	rep.what, rep.text = pdDeed(&in)
	if e.Type == "incident.annotated" && rep.key == "" {
		rep.key = h.known.key(e.Data.Incident.ID)
	}
	return rep, nil
}

// pdDeed is what was done, and the text of a note.
func pdDeed(in *pdReport) (deed, string) {
	switch in.Event.Type {
	case "incident.acknowledged":
		return didAcknowledge, ""
	case "incident.unacknowledged":
		return didUnacknowledge, ""
	case "incident.resolved":
		return didResolve, ""
	case "incident.reopened":
		return didReopen, ""
	case "incident.annotated":
		return didNote, strings.TrimSpace(in.Event.Data.Content)
	case "incident.escalated", "incident.reassigned":
		text := strings.TrimPrefix(in.Event.Type, "incident.")
		var to []string
		for _, a := range in.Event.Data.Assignees {
			to = append(to, names(a.Summary)...)
		}
		if len(to) > 0 {
			text += " to " + strings.Join(to, ", ")
		}
		return didElse, text
	}
	return didNothing, ""
}

// machine reports that an agent is a service or an integration: tocsin's own events come back under the name of one.
func machine(kind string) bool {
	return kind == "" || strings.Contains(kind, "service") || strings.Contains(kind, "integration")
}

// signedBy reports whether any of the signatures was made with any of the secrets.
func signedBy(secrets []string, header string, body []byte) bool {
	ok := false
	for field := range strings.SplitSeq(header, ",") {
		text, found := strings.CutPrefix(strings.TrimSpace(field), "v1=")
		got, err := hex.DecodeString(text)
		if !found || err != nil {
			continue
		}
		for _, secret := range secrets {
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write(body)
			ok = hmac.Equal(got, mac.Sum(nil)) || ok
		}
	}
	return ok
}
