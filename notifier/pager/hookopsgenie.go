package pager

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tocsin/oncall"
)

// ogReport is a report of Opsgenie's webhook integration.
type ogReport struct {
	Action string `json:"action"`
	Alert  struct {
		Alias    string `json:"alias"`
		Username string `json:"username"` // who did it: an e-mail address
		Note     string `json:"note"`
		Owner    string `json:"owner"`
		// UpdatedAt is when the alert was changed by what is reported, in nanoseconds since 1970.
		UpdatedAt json.RawMessage `json:"updatedAt"`
	} `json:"alert"`
	Source struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"source"`
}

// readOpsgenie verifies and reads a report of Opsgenie's. forbidden: it does not carry the secret.
func (h *Hooks) readOpsgenie(r *http.Request, body []byte, hook Hook) (rep report, err error) {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		given = r.URL.Query().Get("token")
	}
	if !isOneOf(hook.Secrets, strings.TrimSpace(given)) {
		return rep, oncall.Errorf(oncall.CodeForbidden, "the secret is missing or wrong: send it as Authorization: Bearer …, or as ?token=…")
	}
	var in ogReport
	if err := json.Unmarshal(body, &in); err != nil || in.Action == "" {
		return rep, oncall.Errorf(oncall.CodeInvalid, "this is no report of Opsgenie's webhook integration")
	}
	user := strings.TrimSpace(in.Alert.Username)
	if user == echoSource || strings.HasSuffix(user, echoMark) || user == "" && in.Source.Name == echoSource {
		return rep, nil // what tocsin did itself
	}
	digest := sha256.Sum256(body) // reports have no identity, but say to the nanosecond when the alert changed
	rep.request, rep.key = "opsgenie "+hex.EncodeToString(digest[:]), in.Alert.Alias
	if !ogMachine(user) {
		rep.who = names(user)
	}
	rep.what, rep.text = ogDeed(&in)
	rep.at = ogTime(in.Alert.UpdatedAt)
	return rep, nil
}

// ogTime reads an instant, zero where there is none. Some of Opsgenie's are in milliseconds.
func ogTime(n json.RawMessage) time.Time {
	v, err := strconv.ParseInt(string(n), 10, 64)
	switch {
	case err != nil || v <= 0:
		return time.Time{}
	case v < 1e15:
		return time.UnixMilli(v)
	}
	return time.Unix(0, v)
}

// ogDeed is what was done, and the text of a note.
func ogDeed(in *ogReport) (deed, string) {
	switch in.Action {
	case "Acknowledge":
		return didAcknowledge, ""
	case "UnAcknowledge":
		return didUnacknowledge, ""
	case "Close":
		return didResolve, ""
	case "AddNote":
		return didNote, strings.TrimSpace(in.Alert.Note)
	case "AssignOwnership", "TakeOwnership":
		text := "assigned"
		if owner := names(in.Alert.Owner); len(owner) > 0 {
			text += " to " + owner[0]
		}
		return didElse, text
	case "Escalate", "EscalateNext":
		return didElse, "escalated"
	case "Snooze":
		return didElse, "snoozed"
	case "Delete":
		return didElse, "deleted"
	}
	return didNothing, ""
}

// ogMachine reports that nobody in person is meant.
func ogMachine(user string) bool {
	switch strings.ToLower(user) {
	case "", "system", "api", "alert api":
		return true
	}
	return false
}

// isOneOf compares in a time that says nothing about the secrets.
func isOneOf(secrets []string, given string) bool {
	ok := 0
	for _, s := range secrets {
		a, b := sha256.Sum256([]byte(s)), sha256.Sum256([]byte(given))
		ok |= subtle.ConstantTimeCompare(a[:], b[:])
	}
	return ok == 1 && given != ""
}
