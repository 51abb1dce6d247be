package alertmanager

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"tocsin/oncall"
)

// TestManyAtOnce: attempts that are merely under way do not keep others from being made. Only those that never come back
// do.
func TestManyAtOnce(t *testing.T) {
	const many = 32
	var all sync.WaitGroup
	all.Add(many)
	far := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		all.Done()
		all.Wait() // nobody is answered before everybody is here
	})
	s := newSenders(t, oneReceiver+"  webhook_configs: [{url: '"+listen(t, far)+"'}]\n", nil)
	var senders sync.WaitGroup
	for i := range many {
		senders.Go(func() {
			d := groupDelivery(oncall.IntegrationEndpoint("webhook_configs", "r", 0), 1)
			d.Key = fmt.Sprint(i)
			if a := s.SendGroup(t.Context(), d, &oncall.Route{ID: "{}"}, oncall.Notice{}); a.Outcome != oncall.OutcomeDelivered {
				t.Errorf("%+v", a)
				all.Done()
			}
		})
	}
	senders.Wait()
}
