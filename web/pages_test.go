package web

import (
	"net/http"
	"strings"
	"testing"

	"tocsin/oncall"
)

// link returns the acknowledge link of incident 42's first delivery.
func link(m *memory) string {
	return "/hooks/ack/" + oncall.LinkToken(m.policy.LinkKey, m.incidents[42].Deliveries[0].Key)
}

func TestALinkAsksAndOnlyAPostActs(t *testing.T) {
	m := newMemory()
	h := site(t, m, nil).CallbackHandler()
	for _, method := range []string{"GET", "HEAD", "GET"} {
		rec := ask(h, method, link(m), "")
		if rec.Code != 200 || m.incidents[42].State != oncall.IncidentTriggered {
			t.Fatalf("%s: %d, %s", method, rec.Code, m.incidents[42].State)
		}
		if method == "GET" && !strings.Contains(rec.Body.String(), `<form method="post">`) {
			t.Errorf("the page does not ask: %s", rec.Body)
		}
	}
	rec := ask(h, "POST", link(m), "", "Sec-Fetch-Site", "same-origin", "Origin", "http://tocsin.example")
	in := m.incidents[42]
	if rec.Code != 200 || in.State != oncall.IncidentAcknowledged || in.AcknowledgedBy != "ana by link" {
		t.Fatalf("%d, %s by %q", rec.Code, in.State, in.AcknowledgedBy)
	}
	for _, method := range []string{"POST", "GET"} {
		rec := ask(h, method, link(m), "")
		if rec.Code != 200 || !strings.Contains(strings.ToLower(rec.Body.String()), "acknowledged by ana by link") {
			t.Errorf("a repeated %s does not show the outcome: %d %s", method, rec.Code, rec.Body)
		}
	}
}

func TestALinkIsValidUntilTheIncidentEnds(t *testing.T) {
	m := newMemory()
	h := site(t, m, nil).CallbackHandler()
	m.decide(42, began, oncall.Command{Kind: oncall.CmdResolve, Actor: "bo"})
	for _, method := range []string{"GET", "POST"} {
		if rec := ask(h, method, link(m), ""); rec.Code != http.StatusGone || !strings.Contains(rec.Body.String(), "bo") {
			t.Errorf("%s: %d %s", method, rec.Code, rec.Body)
		}
	}
}

func TestAForgedLinkActsOnNothing(t *testing.T) {
	m := newMemory()
	h := site(t, m, nil).CallbackHandler()
	good := link(m)
	for _, target := range []string{"/hooks/ack/x", good[:len(good)-1], good + "a", strings.ToUpper(good)} {
		for _, method := range []string{"GET", "POST"} {
			if rec := ask(h, method, target, ""); rec.Code != http.StatusNotFound {
				t.Errorf("%s %s: %d", method, target, rec.Code)
			}
		}
	}
	if rec := ask(h, "POST", good, "", "Sec-Fetch-Site", "cross-site"); rec.Code != http.StatusForbidden {
		t.Errorf("from another site: %d", rec.Code)
	}
	if rec := ask(h, "DELETE", good, ""); rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: %d", rec.Code)
	}
	if m.incidents[42].State != oncall.IncidentTriggered {
		t.Error("it acted")
	}
}

// TestAnEscalateLink: opening it does nothing, a press tells the next tier once, and one that comes late says so.
func TestAnEscalateLink(t *testing.T) {
	m := newMemory()
	h := site(t, m, nil).CallbackHandler()
	escalate := strings.Replace(link(m), "/ack/", "/escalate/", 1)
	before := len(m.incidents[42].Deliveries)
	for _, method := range []string{"GET", "HEAD"} {
		rec := ask(h, method, escalate, "")
		if rec.Code != 200 || len(m.incidents[42].Deliveries) != before {
			t.Fatalf("%s: %d, and %d deliveries", method, rec.Code, len(m.incidents[42].Deliveries))
		}
		if body := rec.Body.String(); method == "GET" && (!strings.Contains(body, `<form method="post">`) || !strings.Contains(body, "You act as ana") || !strings.Contains(body, `href="../ack/`)) {
			t.Errorf("the page does not ask: %s", body)
		}
	}
	if rec := ask(h, "POST", escalate, "", "Sec-Fetch-Site", "cross-site"); rec.Code != http.StatusForbidden {
		t.Errorf("from another site: %d", rec.Code)
	}
	if rec := ask(h, "POST", escalate[:len(escalate)-1], ""); rec.Code != http.StatusNotFound {
		t.Errorf("forged: %d", rec.Code)
	}
	rec := ask(h, "POST", escalate, "", "Sec-Fetch-Site", "same-origin", "Origin", "http://tocsin.example")
	after := len(m.incidents[42].Deliveries)
	if rec.Code != 200 || after == before || !strings.Contains(rec.Body.String(), "is told now") {
		t.Fatalf("%d, %d deliveries after %d: %s", rec.Code, after, before, rec.Body)
	}
	if rec := ask(h, "POST", escalate, ""); rec.Code != http.StatusConflict || len(m.incidents[42].Deliveries) != after || !strings.Contains(rec.Body.String(), "moved on") {
		t.Errorf("a second press: %d %s", rec.Code, rec.Body)
	}
	ask(h, "POST", link(m), "")
	for method, want := range map[string]int{"GET": 200, "POST": http.StatusConflict} {
		if rec := ask(h, method, escalate, ""); rec.Code != want || !strings.Contains(rec.Body.String(), "cknowledged") || strings.Contains(rec.Body.String(), "<form") {
			t.Errorf("%s of an acknowledged incident: %d %s", method, rec.Code, rec.Body)
		}
	}
	m.decide(42, began, oncall.Command{Kind: oncall.CmdResolve, Actor: "bo"})
	if rec := ask(h, "POST", escalate, ""); rec.Code != http.StatusGone || !strings.Contains(rec.Body.String(), "Resolved by bo") {
		t.Errorf("of an ended incident: %d %s", rec.Code, rec.Body)
	}
}

func TestThePagesOfTheConsole(t *testing.T) {
	m := newMemory()
	m.decide(41, began, oncall.Command{Kind: oncall.CmdResolve, Actor: "bo"})
	h := site(t, m, nil).Handler()
	for target, wants := range map[string][]string{
		"/":             {"#42 ", "#41 ", `href="incidents/42"`},
		"/incidents/42": {"Session memory at 83%", "503 Service Unavailable", "because of", ">Acknowledge<", `name="user"`, "https://runbooks.example/memory"},
		"/incidents/41": {"by bo"},
	} {
		rec := ask(h, "GET", target, "")
		body := rec.Body.String()
		if rec.Code != 200 {
			t.Fatalf("%s: %d %s", target, rec.Code, body)
		}
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s lacks %q:\n%s", target, want, body)
			}
		}
		// Nothing of a label may become markup, and no page may need what the policy forbids.
		for _, never := range []string{"<script", "style=", "onclick"} {
			if strings.Contains(body, never) {
				t.Errorf("%s holds %q", target, never)
			}
		}
		if csp := rec.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") {
			t.Errorf("%s: policy %q", target, csp)
		}
		if rec.Header().Get("Referrer-Policy") != "same-origin" || rec.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", target, rec.Header())
		}
	}
	if rec := ask(h, "GET", "/incidents/7", "", "Accept", "text/html"); rec.Code != 404 || !strings.Contains(rec.Body.String(), "<h1>") {
		t.Errorf("an unknown incident: %d %s", rec.Code, rec.Body)
	}
}

func TestAPressInTheConsole(t *testing.T) {
	m := newMemory()
	h := site(t, m, nil).Handler()
	form := []string{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin"}
	rec := ask(h, "POST", "/incidents/42/acknowledge", "user=ana", form...)
	if rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "../42" || m.incidents[42].AcknowledgedBy != "ana" {
		t.Fatalf("%d %v, by %q", rec.Code, rec.Header(), m.incidents[42].AcknowledgedBy)
	}
	if rec := ask(h, "POST", "/incidents/42/explode", "", form...); rec.Code != 404 {
		t.Errorf("an unknown press: %d", rec.Code)
	}
	ask(h, "POST", "/incidents/42/resolve", "", form...)
	rec = ask(h, "POST", "/incidents/42/acknowledge", "", form...)
	if rec.Code != http.StatusConflict || !strings.Contains(rec.Body.String(), "already resolved") {
		t.Errorf("a refusal: %d %s", rec.Code, rec.Body)
	}
}

func TestSilencingInTheConsole(t *testing.T) {
	m := newMemory()
	h := site(t, m, nil).Handler()
	form := []string{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin"}
	rec := ask(h, "POST", "/incidents/42/silence", "user=ana&duration=4h&comment=deploy", form...)
	if rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "../42" {
		t.Fatalf("%d %v", rec.Code, rec.Header())
	}
	if body := ask(h, "GET", "/incidents/42", "").Body.String(); !strings.Contains(body, "(console): deploy") || !strings.Contains(body, "Silence its alerts") {
		t.Errorf("the page shows no silence:\n%s", body)
	}
	for _, bad := range []string{"user=ana&duration=4h&comment=+", "user=ana&duration=weekly&comment=x", "user=ana&comment=x"} {
		if rec := ask(h, "POST", "/incidents/42/silence", bad, form...); rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), "Nothing was silenced") {
			t.Errorf("%s: %d %s", bad, rec.Code, rec.Body)
		}
	}
	if rec := ask(h, "POST", "/incidents/42/silence", "user=ana&duration=4h&comment=x", "Content-Type", form[1], "Sec-Fetch-Site", "cross-site"); rec.Code != http.StatusForbidden {
		t.Errorf("from another site: %d", rec.Code)
	}
}
