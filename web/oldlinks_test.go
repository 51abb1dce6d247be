package web

import (
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/notifier"
)

// TestOldLinks: the first page leads what follows "#" in Alertmanager's links on, and the page of alerts shows
// what one receiver is told of.
func TestOldLinks(t *testing.T) {
	b := groupsOnBoard()
	b.groups = append(b.groups, notifier.GroupView{Labels: labels.FromStrings("alertname", "Disk"), Receiver: `d/b "x"`, Alerts: b.alerts})
	h := amSite(t, b, nil)
	if rec := ask(h, "GET", "/", ""); !strings.Contains(rec.Body.String(), `<script src="static/oldlinks.js"`) {
		t.Errorf("the first page: %s", rec.Body)
	}
	if rec := ask(h, "GET", "/static/oldlinks.js", ""); rec.Code != 200 || !strings.Contains(rec.Header().Get("Content-Type"), "javascript") {
		t.Errorf("the script: %d %v", rec.Code, rec.Header())
	}
	body := ask(h, "GET", "/alerts?receiver="+url.QueryEscape(`d/b "x"`), "").Body.String()
	if strings.Contains(body, "to one") || !strings.Contains(body, "1 in 1 groups") || !strings.Contains(body, "every receiver") {
		t.Errorf("alerts of one receiver: %s", body)
	}
}
