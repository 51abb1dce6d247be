package e2etest

import (
	"testing"
)

const twoRules = `
groups:
- name: cart
  rules:
  - alert: CheckoutBroken
    expr: checkout_errors > 5
    labels: {severity: critical}
    annotations: {summary: 'Checkout fails'}
- name: payment
  rules:
  - alert: CheckoutBroken
    expr: payment_errors > 5
    labels: {severity: critical}
    annotations: {summary: 'Payments fail'}
`

// TestTwoRulesOneAlert: two rules that come to the same alert are one alert of one incident, which ends when
// both have.
func TestTwoRulesOneAlert(t *testing.T) {
	t.Parallel()
	prom, url := newStub(t)
	w := newWorld(t, url, lineConfig, twoRules)
	evaluations := func() int { prom.mu.Lock(); defer prom.mu.Unlock(); return prom.asked }
	// both rules are asked each second: after this many queries each was evaluated, and its change consumed
	settle := func() {
		t.Helper()
		n := evaluations() + 6
		w.eventually(patience, "two more evaluations", func() bool { return evaluations() >= n })
	}
	prom.set("checkout_errors > 5", "shop-1", 9, true)
	w.start()
	w.eventually(patience, "the first rule fires", func() bool { return len(w.incidents()) == 1 })
	prom.set("payment_errors > 5", "shop-1", 9, true)
	settle()
	if list := w.incidents(); len(list) != 1 || len(w.full(1).Alerts) != 1 {
		t.Fatalf("want one incident with one alert: %+v", list)
	}
	prom.set("checkout_errors > 5", "shop-1", 0, false)
	settle()
	if in := w.full(1); in.State != "triggered" || len(in.Alerts) != 1 || in.Alerts[0].State != "firing" {
		t.Errorf("one rule of two is over, and the incident is %s with %+v", in.State, in.Alerts)
	}
	prom.set("payment_errors > 5", "shop-1", 0, false)
	w.eventually(patience, "the incident ends with the second", func() bool { return w.full(1).State == "resolved" })
	if list := w.incidents(); len(list) != 1 {
		t.Errorf("%d incidents in the end", len(list))
	}
}
