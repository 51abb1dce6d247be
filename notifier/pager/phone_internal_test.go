package pager

import (
	"net/url"
	"testing"

	"tocsin/oncall"
)

// TestTwilioSignature is the example of Twilio's documents.
func TestTwilioSignature(t *testing.T) {
	form := url.Values{"CallSid": {"CA1234567890ABCDE"}, "Caller": {"+14158675309"}, "Digits": {"1234"}, "From": {"+14158675309"}, "To": {"+18005551212"}}
	if got := twilioSignature("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", form); got != "RSOYDt4T1cUTdK1PDd93/VVr8B8=" {
		t.Error(got)
	}
	if got := withPort("https://a.example/x?y=https://a.example"); got != "https://a.example:443/x?y=https://a.example" {
		t.Error(got)
	}
}

func TestParseReply(t *testing.T) {
	for text, want := range map[string]struct {
		kind   oncall.CommandKind
		number int64
	}{
		"ack": {oncall.CmdAcknowledge, 0}, " Ack 42.": {oncall.CmdAcknowledge, 42}, "4": {oncall.CmdAcknowledge, 0}, "ACK #42": {oncall.CmdAcknowledge, 42},
		`"ack inc-7"`: {oncall.CmdAcknowledge, 7}, "resolve 42": {oncall.CmdResolve, 42}, "6 42": {oncall.CmdEscalate, 42},
		"42": {}, "acknowledge it please": {}, "": {}, "ack 42 43": {}, "\xff": {}, "nack 42": {}, "stop": {},
	} {
		if kind, number, ok := parseReply(text); kind != want.kind || ok && number != want.number || ok != (want.kind != "") {
			t.Errorf("%q: %s %d %v", text, kind, number, ok)
		}
	}
}

func FuzzParseReply(f *testing.F) {
	f.Add("ack 42")
	f.Fuzz(func(t *testing.T, s string) {
		if kind, number, ok := parseReply(s); ok != (kind != "") || number < 0 {
			t.Errorf("%q: %s %d %v", s, kind, number, ok)
		}
	})
}
