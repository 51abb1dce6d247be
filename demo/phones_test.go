package demo

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const samplePage = `{"type":"incident.triggered","timestamp":"2024-09-23T13:05:00Z","data":{"number":2,"title":"Session memory high","severity":"critical",
"alerts":[{"annotations":{"summary":"Session memory at 84% of its limit on session-1"}}],
"page":{"tier":1,"round":0,"target":"user ana","ack_url":"http://127.0.0.1:9093/hooks/ack/x"}}}`

// page sends a body to a user's phone, signed with secret at the given time.
func page(t *testing.T, p *phones, user, secret, id, body string, at time.Time) int {
	t.Helper()
	wh, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := wh.Sign(id, at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /pager/{user}", p)
	r := httptest.NewRequest(http.MethodPost, "/pager/"+user, strings.NewReader(body))
	r.Header.Set("webhook-id", id)
	r.Header.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	r.Header.Set("webhook-signature", sig)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Code
}

func TestPhonesTakeOnlySignedPages(t *testing.T) {
	s := makeSecrets()
	p, err := newPhones(s.phones)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	ana, bo := s.phones["ana"], s.phones["bo"]
	for _, tc := range []struct {
		name, user, secret, body string
		at                       time.Time
		want                     int
	}{
		{"a page", "ana", ana, samplePage, now, http.StatusNoContent},
		{"signed for another phone", "ana", bo, samplePage, now, http.StatusUnauthorized},
		{"too old", "ana", ana, samplePage, now.Add(-10 * time.Minute), http.StatusUnauthorized},
		{"from the future", "ana", ana, samplePage, now.Add(10 * time.Minute), http.StatusUnauthorized},
		{"no page", "ana", ana, `{"type":"hello"}`, now, http.StatusBadRequest},
		{"no JSON", "ana", ana, `<html>`, now, http.StatusBadRequest},
		{"nobody", "zoe", ana, samplePage, now, http.StatusNotFound},
		{"too long", "ana", ana, samplePage + strings.Repeat(" ", 20<<10), now, http.StatusRequestEntityTooLarge},
	} {
		if got := page(t, p, tc.user, tc.secret, "msg_"+tc.name, tc.body, tc.at); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
	if calls := p.since(now.Add(-time.Hour)); len(calls) != 1 || calls[0].user != "ana" || calls[0].payload.Data.Number != 2 {
		t.Errorf("calls %+v, want the one good page", calls)
	}
}

func TestAPageThatComesTwiceRingsOnce(t *testing.T) {
	s := makeSecrets()
	p, err := newPhones(s.phones)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := page(t, p, "bo", s.phones["bo"], "msg_1", samplePage, time.Now()); got != http.StatusNoContent {
			t.Fatal(got)
		}
	}
	if n := len(p.since(time.Time{})); n != 1 {
		t.Errorf("rang %d times", n)
	}
}

func TestOnlyWebLinksAreShown(t *testing.T) {
	for link, want := range map[string]bool{
		"http://127.0.0.1:9093/hooks/ack/x": true, "https://t.example/a": true,
		"javascript:alert(1)": false, "": false, "/hooks": false, "http://": false,
	} {
		if linkable(link) != want {
			t.Errorf("linkable(%q) = %v", link, !want)
		}
	}
}
