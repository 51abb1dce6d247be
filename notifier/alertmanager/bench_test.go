package alertmanager

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"tocsin/oncall"
)

// BenchmarkSendGroup is a notification without the network: what Alertmanager's notifier costs, and what is added.
func BenchmarkSendGroup(b *testing.B) {
	endpoint := oncall.IntegrationEndpoint("slack_configs", "r", 0)
	for name, text := range map[string]string{"own texts": "", "custom": `, text: '{{ range .Alerts }}{{ .Labels.instance }} {{ end }}'`} {
		b.Run(name, func(b *testing.B) {
			s := newSenders(b, oneReceiver+"  slack_configs: [{api_url: http://x/, channel: '#a'"+text+"}]\n", nil)
			answer := roundTripper(func(r *http.Request) (*http.Response, error) {
				_, _ = io.Copy(io.Discard, r.Body)
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok"))}, nil
			})
			clientOf(&s.integrations[endpoint].sender).Transport.(*tapped).next = answer
			d := groupDelivery(endpoint, 10)
			b.Run("tocsin", func(b *testing.B) {
				for b.Loop() {
					if a := s.SendGroup(b.Context(), d, nil, oncall.Notice{}); a.Outcome != oncall.OutcomeDelivered {
						b.Fatal(a)
					}
				}
			})
			b.Run("Alertmanager", func(b *testing.B) {
				i := s.integrations[endpoint]
				for b.Loop() {
					n := notice{groupKey: d.GroupKey, groupLabels: labelSet(d.GroupLabels), reason: reasonOf(d.Reason), alerts: firing(alertsOf(d.Alerts))}
					if _, err := i.sender.Notify(s.context(b.Context(), i, n, storeOf("")), n.alerts...); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkSendGroupWebhook is the same for a webhook whose address is no template.
func BenchmarkSendGroupWebhook(b *testing.B) {
	endpoint := oncall.IntegrationEndpoint("webhook_configs", "r", 0)
	s := newSenders(b, oneReceiver+"  webhook_configs: [{url: http://x/}]\n", nil)
	clientOf(&s.integrations[endpoint].sender).Transport.(*tapped).next = roundTripper(func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok"))}, nil
	})
	d := groupDelivery(endpoint, 10)
	for b.Loop() {
		if a := s.SendGroup(b.Context(), d, nil, oncall.Notice{}); a.Outcome != oncall.OutcomeDelivered {
			b.Fatal(a)
		}
	}
}
