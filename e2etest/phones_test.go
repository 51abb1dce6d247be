package e2etest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"tocsin/notifier/pager/pagertest"
)

const (
	// phonesAt is where people and Twilio reach tocsin, as far as it knows.
	phonesAt      = "https://tocsin.example"
	twilioAccount = "AC00000000000000000000000000000001"
	twilioToken   = "the-auth-token-of-twilio"
)

// phonesConfig: ana is called, then written to, and then bo is called. Nothing moves on because time passes.
const phonesConfig = `
users:
- name: ana
  contacts: [{receiver: call}, {after: 30m, receiver: sms}]
- name: bo
  contacts: [{receiver: bo-call}]
escalations:
- name: shop
  deliver_within: 10m
  tiers: [{user: ana}, {after: 1h, user: bo}]
route: {receiver: team, group_by: [alertname]}
receivers:
- name: team
  escalation: shop
- name: call
  twilio_configs: [{account_sid: $SID, auth_token_file: token, from: '+15005550006', to: '+34600123456', machine_detection: true, api_url: $TWILIO}]
- name: sms
  twilio_configs: [{account_sid: $SID, auth_token_file: token, from: '+15005550006', to: '+34600123456', mode: sms, api_url: $TWILIO}]
- name: bo-call
  twilio_configs: [{account_sid: $SID, auth_token_file: token, from: '+15005550006', to: '+34600987654', api_url: $TWILIO}]
`

// reach sends a request that names tocsin by its external URL to where it listens. The answer's body is read.
func (d *daemon) reach(r *http.Request) (int, string) {
	d.t.Helper()
	at, err := url.Parse(d.url())
	if err != nil {
		d.t.Fatal(err)
	}
	r.URL.Scheme, r.URL.Host, r.Host, r.RequestURI = at.Scheme, at.Host, "", ""
	res, err := apiClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// open is reach for a link.
func (d *daemon) open(method, link string) (int, string) {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), method, link, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.reach(r)
}

// standing is an incident's state and who has it, and how the first delivery to an endpoint stands.
func (d *daemon) standing(number int, endpoint string) string {
	d.t.Helper()
	var in struct {
		State      string
		By         string `json:"acknowledged_by"`
		Deliveries []struct{ Endpoint, State, Confirmation string }
	}
	d.status(http.MethodGet, fmt.Sprintf("/api/tocsin/v1/incidents/%d", number), nil, &in)
	for _, x := range in.Deliveries {
		if x.Endpoint == endpoint {
			return strings.TrimSpace(fmt.Sprintf("%s %s: %s %s", in.State, in.By, x.State, x.Confirmation))
		}
	}
	return in.State + " " + in.By
}

func (d *daemon) stands(number int, endpoint, want string) {
	d.t.Helper()
	got := ""
	if !until(patience, func() bool { got = d.standing(number, endpoint); return got == want }) {
		d.t.Fatalf("#%d stands at %q, want %q", number, got, want)
	}
}

// asked waits for what Twilio was asked for to a number about an incident.
func asked(t *testing.T, far *pagertest.Twilio, prefix, to string, incident int) (found pagertest.TwilioRequest) {
	t.Helper()
	if !until(patience, func() bool {
		for _, r := range far.Asked() {
			said := r.Form.Get("Twiml") + strings.Replace(r.Form.Get("Body"), "#", "Incident ", 1)
			if strings.HasPrefix(r.SID, prefix) && r.Form.Get("To") == to && strings.Contains(said, fmt.Sprintf("Incident %d", incident)) {
				found = r
				return true
			}
		}
		return false
	}) {
		t.Fatalf("no %s to %s about #%d; problems: %q", prefix, to, incident, far.Problems())
	}
	return found
}

// TestCallsThatReachNobody runs the program with Twilio: whatever ends a call but a key lets the next contact go at once,
// and where none is left the next tier; voicemail acknowledges and confirms nothing, a key does both, whatever was reported before.
func TestCallsThatReachNobody(t *testing.T) {
	t.Parallel()
	far := pagertest.NewTwilio(twilioAccount, twilioToken)
	api := httptest.NewServer(far)
	t.Cleanup(api.Close)
	d := prepare(t, ours(), "", strings.NewReplacer("$SID", twilioAccount, "$TWILIO", api.URL).Replace(phonesConfig), "--web.external-url", phonesAt)
	d.write("token", twilioToken+"\n")
	d.start()
	const ana, bo = "+34600123456", "+34600987654"
	report := func(r *http.Request) string {
		t.Helper()
		status, said := d.reach(r)
		if status/100 != 2 {
			t.Fatalf("%s was answered %d %s", r.URL.Path, status, said)
		}
		return said
	}
	for i, how := range []string{"busy", "no-answer", "failed", "canceled", "completed", "machine_start"} {
		number := i + 1
		d.post(map[string]string{"alertname": fmt.Sprint("Down", number), "severity": "critical"})
		call := asked(t, far, "CA", ana, number)
		d.stands(number, "call:call/0", "triggered : accepted waiting")
		if how == "machine_start" {
			report(far.Answered(t.Context(), call, how))
		} else {
			report(far.Ended(t.Context(), call, how))
		}
		text := asked(t, far, "SM", ana, number) // at once: its time would be in half an hour
		d.stands(number, "call:call/0", "triggered : refused failed")
		report(far.Ended(t.Context(), text, "undelivered"))
		asked(t, far, "CA", bo, number) // in an hour
		d.stands(number, "sms:sms/0", "triggered : refused failed")
		if how != "machine_start" {
			continue
		}
		d.kill()
		d.start()
		if said := report(far.Press(t.Context(), call, "4")); !strings.Contains(said, "acknowledged by ana by phone") {
			t.Errorf("to 4 it says %s", said)
		}
		report(far.Press(t.Context(), call, "4")) // Twilio may report a key twice
		report(far.Ended(t.Context(), call, "completed"))
		d.stands(number, "call:call/0", "acknowledged ana by phone: delivered confirmed")
	}
	forged := far.Press(t.Context(), asked(t, far, "CA", ana, 1), "4")
	forged.Header.Set("X-Twilio-Signature", "bm8=")
	if status, _ := d.reach(forged); status != http.StatusForbidden {
		t.Errorf("a forged key was answered %d", status)
	}
	d.stands(1, "call:call/0", "triggered : refused failed")
	for _, p := range far.Problems() {
		t.Error(p)
	}
	if strings.Contains(d.logged(), twilioToken) {
		t.Error("the auth token is in the log")
	}
}

// end posts an alert as one that has ended.
func (d *daemon) end(set map[string]string) {
	d.t.Helper()
	body := []map[string]any{{"labels": set, "startsAt": time.Now().Add(-time.Minute), "endsAt": time.Now().Add(-time.Second)}}
	if code, b := d.call(http.MethodPost, "/api/v2/alerts", body); code != http.StatusOK {
		d.t.Errorf("HTTP %d %s", code, b)
	}
}
