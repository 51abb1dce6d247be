package storetest

import (
	"testing"
	"time"

	"tocsin/oncall"
)

// testHasten: edits that wait for an endpoint to be mended go at once, and nothing else does.
func testHasten(t *testing.T, e *env) {
	in := e.open("x")
	e.busy()
	later := e.now.Add(5 * time.Minute)
	edit := page(in, "slack:C1", "edit")
	edit.Kind = oncall.KindEdit
	elsewhere := page(in, "slack:C2", "edit")
	elsewhere.Kind = oncall.KindEdit
	reply := page(in, "slack:C3", "reply")
	reply.Kind = oncall.KindReply
	e.add(in.Number, edit, elsewhere, reply)
	for _, c := range e.claim() {
		e.finish(c, oncall.DeliveryQueued, later)
	}
	equal(t, len(e.claim()), 0)
	hasten := func(wants ...oncall.Endpoint) int {
		n, err := e.s.HastenEdits(e.ctx(), e.write(), func(at oncall.Endpoint) bool {
			for _, w := range wants {
				if at == w {
					return true
				}
			}
			return false
		})
		e.must(err)
		return n
	}
	equal(t, hasten(), 0)
	equal(t, hasten("slack:C1", "slack:C3"), 1)
	equal(t, hasten("slack:C1"), 0)
	equal(t, keys(e.claim()), []string{edit.Key})
	e.now = later
	equal(t, len(e.claim()), 2)
}
