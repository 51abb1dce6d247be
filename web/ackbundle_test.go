package web

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"tocsin/oncall"
)

// bundles is a bundle of the incidents of m, carried by the first delivery of #42.
type bundles struct{ m *memory }

func (b bundles) Bundle(ctx context.Context, carrier string) (oncall.Bundle, error) {
	all := oncall.Bundle{Key: carrier, States: map[oncall.IncidentState]int{}}
	for _, n := range []int64{42, 41} {
		in, err := b.m.Incident(ctx, n)
		if err != nil || carrier != b.m.incidents[42].Deliveries[0].Key {
			return all, oncall.Errorf(oncall.CodeNotFound, "no bundle")
		}
		all.Count++
		all.States[in.State]++
		all.Members = append(all.Members, oncall.BundleMember{Incident: in})
	}
	return all, b.m.broken
}

func (b bundles) AcknowledgeBundle(ctx context.Context, _, actor, via string) (n int, err error) {
	for _, number := range []int64{42, 41} {
		if d, err := b.m.Act(ctx, number, oncall.Command{Kind: oncall.CmdAcknowledge, Actor: actor, Via: via}, ""); err == nil && d.Changed {
			n++
		}
	}
	return n, b.m.broken
}

func TestALinkOfABundle(t *testing.T) {
	m := newMemory()
	h := site(t, m, func(o *Options) { o.Bundles = bundles{m} }).CallbackHandler()
	key := m.incidents[42].Deliveries[0].Key
	all := "/hooks/ack/" + oncall.LinkToken(m.policy.LinkKey, key+"~all")
	rec := ask(h, "GET", all, "")
	for _, want := range []string{"2 incidents", `<form method="post">`, "acknowledge all 2", "#42", "#41", "You act as ana"} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%d: no %q in %s", rec.Code, want, rec.Body)
		}
	}
	if m.incidents[42].State != oncall.IncidentTriggered {
		t.Fatal("a GET acted")
	}
	if rec := ask(h, "POST", all, "", "Sec-Fetch-Site", "cross-site"); rec.Code != http.StatusForbidden {
		t.Errorf("from another site: %d", rec.Code)
	}
	rec = ask(h, "POST", all, "")
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), "You have 2 incidents.") || strings.Contains(rec.Body.String(), "<form") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	for _, n := range []int64{41, 42} {
		if by := m.incidents[n].AcknowledgedBy; by != "ana by link" {
			t.Errorf("#%d was acknowledged by %q", n, by)
		}
	}
	if rec := ask(h, "POST", all, ""); rec.Code != 200 || !strings.Contains(rec.Body.String(), "Somebody has acknowledged all of them") {
		t.Errorf("again: %d %s", rec.Code, rec.Body)
	}
	m.decide(42, began, oncall.Command{Kind: oncall.CmdResolve, Actor: "bo"})
	m.decide(41, began, oncall.Command{Kind: oncall.CmdResolve, Actor: "bo"})
	if rec := ask(h, "GET", all, ""); rec.Code != http.StatusGone || !strings.Contains(rec.Body.String(), "All of them are over") {
		t.Errorf("ended: %d %s", rec.Code, rec.Body)
	}
	if rec := ask(h, "GET", "/hooks/ack/"+oncall.LinkToken(m.policy.LinkKey, "msg_none~all"), ""); rec.Code != http.StatusGone {
		t.Errorf("unknown: %d", rec.Code)
	}
}
