package alertmanager

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"tocsin/notifier/alertmanager/alertmanagertest"
	"tocsin/oncall"
)

func TestMail(t *testing.T) {
	m, err := alertmanagertest.NewMail()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	s := newSenders(t, oneReceiver+fmt.Sprintf("  email_configs: [{to: ana@example.org, from: t@example.org, smarthost: '%s', require_tls: false, html: '{{ .Nope.Nope }}'}]\n", m.Address()), nil)
	e := oncall.IntegrationEndpoint("email_configs", "r", 0)
	a := s.SendGroup(t.Context(), groupDelivery(e, 3), nil, oncall.Notice{})
	if a.Outcome != oncall.OutcomeDelivered || len(m.Messages()) != 1 || !strings.Contains(m.Messages()[0], "2 alerts for") {
		t.Fatalf("%+v %q", a, m.Messages())
	}
	// A server that says nothing: the attempt ends with its context, and is left behind.
	m.Hang()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if a := s.SendGroup(ctx, groupDelivery(e, 3), nil, oncall.Notice{}); a.Outcome != oncall.OutcomeUnknown || a.Error == "" {
		t.Errorf("%+v", a)
	}
}

// TestMailAcknowledges: mail about an incident carries the link of its delivery; about its end, or of a routed
// group, it carries none.
func TestMailAcknowledges(t *testing.T) {
	m, err := alertmanagertest.NewMail()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	s := newSenders(t, oneReceiver+fmt.Sprintf("  email_configs: [{to: ana@example.org, from: t@example.org, smarthost: '%s', require_tls: false, send_resolved: true}]\n", m.Address()), nil)
	s.ackURL = func(key string) string { return "https://tocsin.example/hooks/ack/" + key }
	e := oncall.IntegrationEndpoint("email_configs", "r", 0)
	attempts := []oncall.Attempt{
		s.Send(t.Context(), message(e, "1", oncall.KindTriggered)),
		s.Send(t.Context(), message(e, "2", oncall.KindResolved)),
		s.SendGroup(t.Context(), groupDelivery(e, 1), nil, oncall.Notice{}),
	}
	for i, a := range attempts {
		if a.Outcome != oncall.OutcomeDelivered || len(m.Messages()) <= i {
			t.Fatalf("%d: %+v", i, a)
		}
		linked := strings.Contains(strings.ReplaceAll(m.Messages()[i], "=\r\n", ""), "https://tocsin.example/hooks/ack/d-1")
		if linked != (i == 0) {
			t.Errorf("message %d: linked %t\n%s", i, linked, m.Messages()[i])
		}
	}
}
