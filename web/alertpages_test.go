package web

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
	"tocsin/oncall"
)

// groupsOnBoard is a board with a group of three: one active, one silenced, one inhibited.
func groupsOnBoard() *board {
	view := func(instance string, silencedBy []string, inhibitedBy []uint64) notifier.AlertView {
		v := notifier.AlertView{State: notifier.AlertActive, SilencedBy: silencedBy, InhibitedBy: inhibitedBy, Alert: &oncall.ActiveAlert{
			StartsAt: began.UnixMicro(), GeneratorURL: "javascript:alert(1)", Labels: labels.FromStrings("alertname", "Memory", "instance", instance),
			Annotations: labels.FromStrings("summary", "<script>high</script>", "runbook_url", "https://runbooks.example/memory")}}
		if len(silencedBy)+len(inhibitedBy) > 0 {
			v.State = notifier.AlertSuppressed
		}
		return v
	}
	b := &board{alerts: []notifier.AlertView{view(`web-1 "x"`, nil, nil), view("web-2", []string{"00000000-0000-4000-8000-000000000000"}, nil), view("web-3", nil, []uint64{7})}}
	b.groups = []notifier.GroupView{{Labels: labels.FromStrings("alertname", "Memory"), Receiver: "one", Alerts: b.alerts}}
	return b
}

func TestThePageOfAlerts(t *testing.T) {
	b := groupsOnBoard()
	h := amSite(t, b, nil)
	page := func(query string, status int) string {
		t.Helper()
		rec := ask(h, "GET", "/alerts"+query, "", "Accept", "text/html")
		if rec.Code != status || strings.Contains(rec.Body.String(), "<script>") || strings.Contains(rec.Body.String(), "javascript:") {
			t.Errorf("%s: %d %s", query, rec.Code, rec.Body)
		}
		return rec.Body.String()
	}
	if s := page("", 200); strings.Count(s, "<article>") != 1 || !strings.Contains(s, "1 in 1 groups") || !strings.Contains(s, "https://runbooks.example/memory") {
		t.Errorf("%s", s)
	}
	if s := page("?silenced=1&inhibited=1", 200); strings.Count(s, "<article>") != 3 || !strings.Contains(s, "silences#s00000000") {
		t.Errorf("%s", s)
	}
	if s := page("?inhibited=1&filter=instance%3D%22web-3%22", 200); strings.Count(s, "<article>") != 1 || !strings.Contains(s, "web-3") {
		t.Errorf("%s", s)
	}
	if s := page("?filter=x%3D~%22(%22", 400); !strings.Contains(s, "error parsing regexp") {
		t.Errorf("%s", s)
	}
	b.idle = true
	if s := page("", 503); !strings.Contains(s, "another one on the same store has the watch") {
		t.Errorf("%s", s)
	}
}

// TestALinkFillsTheFormIn follows the link of an alert to the form, previews and sends it.
func TestALinkFillsTheFormIn(t *testing.T) {
	b := groupsOnBoard()
	h := amSite(t, b, nil)
	page := ask(h, "GET", "/alerts?silenced=1&inhibited=1", "").Body.String()
	_, link, _ := strings.Cut(page, `>Runbook</a>`)
	_, link, _ = strings.Cut(link, `href="`)
	link, _, _ = strings.Cut(link, `"`)
	rec := ask(h, "GET", "/"+html.UnescapeString(link), "")
	if s := rec.Body.String(); rec.Code != 200 || strings.Count(s, "<article>") != 1 || !strings.Contains(html.UnescapeString(s), `alertname="Memory", instance="web-1 \"x\""`) {
		t.Fatalf("%s: %d %s", link, rec.Code, s)
	}
	if s := ask(h, "GET", "/silences/new?matchers="+url.QueryEscape(`alertname!="Other"`), "").Body.String(); strings.Count(s, "<article>") != 3 || !strings.Contains(s, "Careful: ") {
		t.Errorf("%s", s)
	}
	send := func(form url.Values) (int, string, http.Header) {
		rec := ask(h, "POST", "/silences", form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin")
		return rec.Code, html.UnescapeString(rec.Body.String()), rec.Header()
	}
	form := url.Values{"matchers": {`alertname="Memory"`}, "duration": {"2h"}, "comment": {"resizing"}, "user": {"ana"}}
	for name, wrong := range map[string]string{"comment": "", "duration": "every monday", "matchers": `a="`, "starts": "soon", "id": "00000000-0000-4000-8000-000000000000"} {
		bad := url.Values{name: {wrong}}
		for k, v := range form {
			if k != name {
				bad[k] = v
			}
		}
		if code, body, _ := send(bad); code/100 != 4 || !strings.Contains(body, `role="alert"`) || len(b.silences) != 0 || !strings.Contains(body, ">Silence</button>") {
			t.Errorf("%s %q: %d %s", name, wrong, code, body)
		}
	}
	if code, body, header := send(form); code != http.StatusSeeOther || header.Get("Location") != "silences" || len(b.silences) != 1 {
		t.Fatalf("%d %s", code, body)
	}
	for id, s := range b.silences {
		if s.CreatedBy != "ana" || s.EndsAt.Sub(s.StartsAt).Round(time.Second) != 2*time.Hour {
			t.Errorf("%+v", s)
		}
		list := ask(h, "GET", "/silences", "").Body.String()
		if !strings.Contains(list, "resizing") || !strings.Contains(list, "/expire") || !strings.Contains(list, "duration=2h") {
			t.Errorf("%s", list)
		}
		if rec := ask(h, "POST", "/silences/"+id+"/expire", "", "Sec-Fetch-Site", "cross-site"); rec.Code != http.StatusForbidden {
			t.Errorf("from another site: %d", rec.Code)
		}
		if rec := ask(h, "POST", "/silences/"+id+"/expire", ""); rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "../../silences" {
			t.Errorf("%d %v", rec.Code, rec.Header())
		}
		if s := ask(h, "GET", "/silences", "").Body.String(); !strings.Contains(s, "Nothing is silenced") || !strings.Contains(s, "Again") {
			t.Errorf("%s", s)
		}
	}
	if rec := ask(h, "POST", "/silences/00000000-0000-4000-8000-000000000000/expire", "", "Accept", "text/html"); rec.Code != 404 {
		t.Errorf("an unknown one: %d", rec.Code)
	}
}
