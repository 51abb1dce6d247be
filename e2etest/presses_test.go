package e2etest

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tocsin/notifier/alertmanager/alertmanagertest"
	"tocsin/notifier/pager/pagertest"
)

const ntfyConfig = `
users:
- {name: ana, contacts: [{receiver: ana-phone}]}
- {name: bo, contacts: [{receiver: bo-phone}]}
escalations:
- name: shop
  tiers: [{user: ana}, {after: 1h, user: bo}]
route: {receiver: team, group_by: [alertname]}
receivers:
- name: team
  escalation: shop
- name: ana-phone
  ntfy_configs: [{url: $NTFY, topic: ana-pages, token_file: token, severities: {critical: {priority: 4, tags: [skull]}}}]
- name: bo-phone
  ntfy_configs: [{url: $NTFY, topic: bo-pages, token_file: token, update_messages: false}]
`

// TestPressedInNtfy: ana cannot take it and escalates, bo acknowledges, and ana's page turns into what became of it.
func TestPressedInNtfy(t *testing.T) {
	t.Parallel()
	far := pagertest.NewNtfy("tk_of_the_test")
	server := httptest.NewServer(far)
	t.Cleanup(server.Close)
	d := prepare(t, ours(), "", strings.ReplaceAll(ntfyConfig, "$NTFY", server.URL), "--web.external-url", phonesAt)
	d.write("token", "tk_of_the_test\n")
	d.start()
	// shown waits until a phone shows so many messages, the last of which says something.
	shown := func(topic string, count int, says string) (last pagertest.NtfyMessage) {
		t.Helper()
		if !until(patience, func() bool {
			n := 0
			for _, m := range far.Shown() {
				if m.Topic == topic {
					n, last = n+1, m
				}
			}
			return n == count && strings.Contains(last.Message, says)
		}) {
			t.Fatalf("%s does not show %d messages, the last with %q: %+v %q", topic, count, says, far.Shown(), far.Problems())
		}
		return last
	}
	press := func(m pagertest.NtfyMessage, label string, want int, says string) {
		t.Helper()
		for _, a := range m.Actions {
			if a.Label != label {
				continue
			}
			if status, said := d.open(a.Method, a.URL); status != want || !strings.Contains(said, says) {
				t.Errorf("%s was answered %d %s", label, status, said)
			}
			return
		}
		t.Errorf("there is no %s in %+v", label, m)
	}

	alert := map[string]string{"alertname": "CheckoutDown", "severity": "critical"}
	d.post(alert)
	page := shown("ana-pages", 1, "1 of 1 alerts firing")
	if page.Priority != 4 || strings.Join(page.Tags, " ") != "skull" {
		t.Errorf("%+v", page)
	}
	press(page, "Escalate", http.StatusOK, "is told now")
	bo := shown("bo-pages", 1, "1 of 1 alerts firing")
	press(page, "Escalate", http.StatusConflict, "moved on")
	d.kill()
	d.start()
	press(bo, "Acknowledge", http.StatusOK, "acknowledged by bo by link")
	if m := shown("ana-pages", 1, "Acknowledged by bo by link."); m.Priority != 2 || len(m.Actions) != 0 {
		t.Errorf("it is shown as %+v", m)
	}
	shown("bo-pages", 2, "Acknowledged by bo by link.")
	press(page, "Escalate", http.StatusConflict, "un-acknowledge it")
	d.end(alert)
	shown("ana-pages", 1, "Resolved: its alerts have ended.")
	press(page, "Acknowledge", http.StatusGone, "Resolved at")
	for _, p := range far.Problems() {
		t.Error(p)
	}
	if log := d.logged(); strings.Contains(log, "tk_of_the_test") || strings.Contains(log, "ana-pages") {
		t.Error("the token or the topic is in the log")
	}
}

const opsgenieConfig = `
users:
- {name: ana, email: ana@shop.example}
escalations:
- name: shop
  tiers: [{receiver: both}]
route: {receiver: team, group_by: [alertname]}
receivers:
- name: team
  escalation: shop
- name: both
  opsgenie_configs: [{api_key_file: og, api_url: $OG}]
  opsgenie_webhook: {secret_file: hook}
`

// TestUnacknowledgedInOpsgenie: a policy of Opsgenie's takes back what was acknowledged there, and nothing else; a person takes
// back whatever it is. Nothing of it comes back as an echo.
func TestUnacknowledgedInOpsgenie(t *testing.T) {
	t.Parallel()
	far := pagertest.NewOpsgenie("genie-key", "")
	server := httptest.NewServer(far)
	t.Cleanup(server.Close)
	d := prepare(t, ours(), "", strings.ReplaceAll(opsgenieConfig, "$OG", server.URL))
	d.write("og", "genie-key\n")
	d.write("hook", hookSecret+"\n")
	d.start()
	d.post(map[string]string{"alertname": "CheckoutDown", "severity": "critical"})
	key := pagedIncident(t, d)
	const endpoint = "opsgenie_configs:both/0"
	report := func() {
		t.Helper()
		for _, r := range far.Reports() {
			for range 2 {
				if status, said := sendReport(t, d, "opsgenie", r); status != http.StatusOK {
					t.Errorf("answered %d %s", status, said)
				}
			}
		}
	}
	// What was not confirmed when the program died is told once more.
	verbs := func(want ...string) {
		t.Helper()
		if !until(patience, func() bool { return slices.Equal(slices.Compact(far.Verbs(key)), want) }) {
			t.Fatalf("Opsgenie was told %q, want %q: %q", far.Verbs(key), want, far.Problems())
		}
		report()
	}
	do := func(action, by, want string) {
		t.Helper()
		far.Do(key, action, by, "")
		report()
		d.stands(1, endpoint, want)
	}
	verbs("create")
	do("Acknowledge", "ana@shop.example", "acknowledged ana: delivered")
	do("UnAcknowledge", "System", "triggered : delivered")
	verbs("create", "unacknowledge")
	if code := d.status(http.MethodPost, "/api/tocsin/v1/incidents/1/acknowledge", map[string]string{"user": "ana"}, nil); code != http.StatusOK {
		t.Fatalf("HTTP %d", code)
	}
	verbs("create", "unacknowledge", "acknowledge")
	do("UnAcknowledge", "System", "acknowledged ana: delivered")
	d.kill()
	d.start()
	do("UnAcknowledge", "ana@shop.example", "triggered : delivered")
	verbs("create", "unacknowledge", "acknowledge", "create", "unacknowledge")
	d.stands(1, endpoint, "triggered : delivered")
	for _, p := range far.Problems() {
		t.Error(p)
	}
}

const mailConfig = `
users:
- {name: ana, contacts: [{receiver: ana-mail}]}
escalations:
- name: shop
  tiers: [{user: ana}]
route: {receiver: team, group_by: [alertname]}
receivers:
- name: team
  escalation: shop
- name: ana-mail
  email_configs: [{to: ana@shop.example, from: tocsin@shop.example, smarthost: '$MAIL', require_tls: false}]
`

var mailedLink = regexp.MustCompile(phonesAt + `/hooks/ack/[\w.~-]+`)

// TestAcknowledgedFromMail: whoever opens the link of a mail changes nothing, however often and however they ask; a press
// acknowledges in the name of whom the mail went to; and after the end the link says so.
func TestAcknowledgedFromMail(t *testing.T) {
	t.Parallel()
	far, err := alertmanagertest.NewMail()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(far.Close)
	d := newDaemon(t, ours(), strings.ReplaceAll(mailConfig, "$MAIL", far.Address()), "--web.external-url", phonesAt)
	alert := map[string]string{"alertname": "CheckoutDown", "severity": "critical"}
	d.post(alert)
	link := ""
	if !until(patience, func() bool {
		for _, m := range far.Messages() {
			link = mailedLink.FindString(strings.ReplaceAll(m, "=\r\n", ""))
		}
		return link != ""
	}) {
		t.Fatalf("no mail with a link: %q", far.Messages())
	}
	const endpoint = "email_configs:ana-mail/0"
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodGet} {
		status, page := d.open(method, link)
		if status != http.StatusOK || method == http.MethodGet && (!strings.Contains(page, "You act as ana") || strings.Contains(page, "<script")) {
			t.Errorf("%s: %d %s", method, status, page)
		}
	}
	if status, page := d.open(http.MethodGet, strings.Replace(link, "/ack/", "/escalate/", 1)); status != http.StatusOK || !strings.Contains(page, "You act as ana") {
		t.Errorf("the page that escalates: %d %s", status, page)
	}
	d.stands(1, endpoint, "triggered : delivered")
	for range 2 {
		if status, page := d.open(http.MethodPost, link); status != http.StatusOK || !strings.Contains(page, "acknowledged by ana by link") {
			t.Errorf("pressed: %d %s", status, page)
		}
	}
	d.stands(1, endpoint, "acknowledged ana by link: delivered")
	d.end(alert)
	d.stands(1, endpoint, "resolved ana by link: delivered")
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if status, page := d.open(method, link); status != http.StatusGone || !strings.Contains(page, "its alerts have ended") {
			t.Errorf("%s after the end: %d %s", method, status, page)
		}
	}
	if strings.Contains(d.logged(), strings.TrimPrefix(link, phonesAt+"/hooks/ack/")) {
		t.Error("the link is in the log")
	}
}
