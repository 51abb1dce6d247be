package pager_test

import (
	"slices"
	"strings"
	"testing"

	"tocsin/notifier/outgoing"
	"tocsin/notifier/pager"
	"tocsin/notifier/pager/pagertest"
	"tocsin/oncall"
)

const ntfyEndpoint = oncall.Endpoint("ntfy:ana/0")

// publisher is an ntfy server, and what sends to it.
type publisher struct {
	t   *testing.T
	far *pagertest.Ntfy
	s   *pager.Ntfy
}

func newPublisher(t *testing.T, change func(*pager.NtfyConfig)) *publisher {
	t.Helper()
	c := pager.NtfyConfig{URL: address(t, "https://ntfy.example"), Topic: "t", Token: ntfyToken, HTTP: outgoing.DefaultSettings().HTTP}
	if change != nil {
		change(&c)
	}
	far := pagertest.NewNtfy(ntfyToken)
	s, err := pager.NewNtfy(map[oncall.Endpoint]pager.NtfyConfig{ntfyEndpoint: c}, pager.PhoneOptions{Transport: far})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range far.Problems() {
			t.Error(p)
		}
	})
	return &publisher{t, far, s}
}

func (p *publisher) send(kind oncall.DeliveryKind, change func(*oncall.Page)) pagertest.NtfyMessage {
	p.t.Helper()
	m := paged(ntfyEndpoint, "inc", kind, change)
	if a := p.s.Send(p.t.Context(), m); a.Outcome != oncall.OutcomeDelivered || a.Remote == "" {
		p.t.Fatalf("%+v", a)
	}
	all := p.far.Messages()
	return all[len(all)-1]
}

func labelsOf(m pagertest.NtfyMessage) (labels []string) {
	for _, a := range m.Actions {
		labels = append(labels, a.Label)
	}
	return labels
}

// TestNtfyMessages: what asks is loud and can be answered, what tells is quiet, and all of it fits.
func TestNtfyMessages(t *testing.T) {
	p := newPublisher(t, nil)
	m := p.send(oncall.KindTriggered, func(p *oncall.Page) {
		p.Data.Title = strings.Repeat("ж", 400)
		p.Data.Alerts[0].Annotations["description"] = strings.Repeat("ж", 4000)
	})
	if m.Priority != 5 || !slices.Equal(labelsOf(m), []string{"Acknowledge", "Escalate", "Open"}) || !strings.HasSuffix(m.Message, "…") {
		t.Errorf("%+v", m)
	}
	for i, path := range []string{"/hooks/ack/", "/hooks/escalate/"} {
		if a := m.Actions[i]; a.Method != "POST" || !a.Clear || !strings.Contains(a.URL, path) {
			t.Errorf("%+v", a)
		}
	}
	if _, ack, _ := strings.Cut(m.Actions[0].URL, "/ack/"); !strings.HasSuffix(m.Actions[1].URL, "/escalate/"+ack) {
		t.Errorf("%s and %s", m.Actions[0].URL, m.Actions[1].URL)
	}
	if m := p.send(oncall.KindResolved, nil); m.Priority != 2 || len(m.Actions) != 0 || m.Message != "Resolved: its alerts have ended." {
		t.Errorf("%+v", m)
	}
	test := p.send(oncall.KindTriggered, func(p *oncall.Page) { p.Data.Page.Test = true })
	bundle := p.send(oncall.KindTriggered, func(p *oncall.Page) { p.Data.Page.Bundle = &oncall.PageBundle{Count: 7} })
	for _, m := range []pagertest.NtfyMessage{test, bundle} { // nothing there is to be escalated
		if !slices.Equal(labelsOf(m), []string{"Acknowledge", "Open"}) {
			t.Errorf("%q", labelsOf(m))
		}
	}
}

// TestNtfyUpdates: what tells takes the place of what asked last, and nothing takes it without a sound that asks.
func TestNtfyUpdates(t *testing.T) {
	ask := func(key string, change func(*oncall.Delivery)) oncall.DeliveryView {
		d := oncall.Delivery{Key: "msg_" + key, Endpoint: ntfyEndpoint, Kind: oncall.KindTriggered, State: oncall.DeliveryDelivered}
		if change != nil {
			change(&d)
		}
		return oncall.DeliveryView{Delivery: d}
	}
	for name, test := range map[string]struct {
		kind oncall.DeliveryKind
		sent []oncall.DeliveryView
		want string // the sequence; "": its own
	}{
		"asks":               {oncall.KindTriggered, []oncall.DeliveryView{ask("a", nil)}, ""},
		"something new":      {oncall.KindUpdated, []oncall.DeliveryView{ask("a", nil)}, ""},
		"acknowledged":       {oncall.KindAcknowledged, []oncall.DeliveryView{ask("a", nil), ask("b", nil)}, "b"},
		"resolved":           {oncall.KindResolved, []oncall.DeliveryView{ask("a", nil), ask("b", func(d *oncall.Delivery) { d.Kind = oncall.KindAcknowledged })}, "a"},
		"of an update":       {oncall.KindResolved, []oncall.DeliveryView{ask("a", nil), ask("b", func(d *oncall.Delivery) { d.Kind = oncall.KindUpdated })}, "b"},
		"elsewhere":          {oncall.KindResolved, []oncall.DeliveryView{ask("a", nil), ask("b", func(d *oncall.Delivery) { d.Endpoint = "ntfy:bo/0" })}, "a"},
		"never sent":         {oncall.KindResolved, []oncall.DeliveryView{ask("a", nil), ask("b", func(d *oncall.Delivery) { d.State = oncall.DeliveryDropped })}, "a"},
		"refused":            {oncall.KindResolved, []oncall.DeliveryView{ask("a", nil), ask("b", func(d *oncall.Delivery) { d.State = oncall.DeliveryRefused })}, "a"},
		"carried by another": {oncall.KindAcknowledged, []oncall.DeliveryView{ask("a", func(d *oncall.Delivery) { d.Bundle = "msg_c" })}, ""},
		"carried others":     {oncall.KindAcknowledged, []oncall.DeliveryView{ask("a", func(d *oncall.Delivery) { d.Bundled = 7 })}, ""},
		"not listed":         {oncall.KindAcknowledged, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			list := func(p *oncall.Page) { p.Data.Deliveries = test.sent }
			m := newPublisher(t, nil).send(test.kind, list)
			own := strings.TrimPrefix(paged(ntfyEndpoint, "inc", test.kind, nil).Delivery.Key, "msg_")
			if want := test.want; m.Sequence != want && (want != "" || m.Sequence != own) {
				t.Errorf("it is of the sequence %q, want %q", m.Sequence, want)
			}
			separate := newPublisher(t, func(c *pager.NtfyConfig) { c.Separate = true })
			if m := separate.send(test.kind, list); m.Sequence != "" {
				t.Errorf("separate, and of the sequence %q", m.Sequence)
			}
		})
	}
}

// TestNtfyLooks: the words of a team decide how loud a page is; what they leave out keeps its default.
func TestNtfyLooks(t *testing.T) {
	p := newPublisher(t, func(c *pager.NtfyConfig) {
		c.Looks = map[string]pager.NtfyLook{"p1": {Priority: 5, Tags: []string{"skull", "shop"}}, "critical": {Priority: 4}, "none": {Tags: []string{}}}
	})
	for severity, want := range map[string]struct {
		priority int
		tags     []string
	}{
		"P1":       {5, []string{"skull", "shop"}},
		"critical": {4, []string{"rotating_light"}},
		"":         {4, nil},
		"warning":  {3, []string{"rotating_light"}},
		"p2":       {4, []string{"rotating_light"}},
	} {
		m := p.send(oncall.KindTriggered, func(p *oncall.Page) { p.Data.Severity = severity })
		if m.Priority != want.priority || !slices.Equal(m.Tags, want.tags) {
			t.Errorf("%q: %d %q", severity, m.Priority, m.Tags)
		}
	}
	m := p.send(oncall.KindTriggered, func(p *oncall.Page) { p.Data.Severity, p.Data.Drill = "p1", true })
	if m.Priority != 5 || !slices.Equal(m.Tags, []string{"test_tube"}) {
		t.Errorf("a drill: %d %q", m.Priority, m.Tags)
	}
	if !strings.HasPrefix(m.Message, "Nothing is wrong. Acknowledge it") || strings.Contains(m.Message, "firing") || strings.Contains(m.Message, "Next:") {
		t.Errorf("a drill says %q", m.Message)
	}
	if m = p.send(oncall.KindResolved, func(p *oncall.Page) { p.Data.Drill = true }); m.Message != "The drill is over. Nothing was wrong." {
		t.Errorf("at its end a drill says %q", m.Message)
	}
}
