package notifier_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier/pager/pagertest"
	"tocsin/oncall"
)

// services are names of services, each of which has an incident of its own.
func services(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("service-%05d", i))
	}
	return names
}

// phonePages are the pages that ask which ana's phone got, in order, repeats included.
func (r *rig) phonePages() (pages []pagertest.Page) {
	for _, p := range r.far.Pages() {
		if p.Path == "/page/ana-phone/0" && p.Type == "incident.triggered" {
			pages = append(pages, p)
		}
	}
	return pages
}

// settled checks that each incident's page for ana arrived, by itself or with others, and what its timeline says.
func (r *rig) settled(n int) {
	r.t.Helper()
	for number := range int64(n) {
		in := r.incident(number + 1)
		i := slices.IndexFunc(in.Deliveries, func(d oncall.Delivery) bool { return d.Endpoint == ana && d.Kind == oncall.KindTriggered })
		d := in.Deliveries[i]
		if d.State != oncall.DeliveryDelivered {
			r.t.Errorf("#%d: %s after %d attempts: %s", in.Number, d.State, d.Attempts, d.Error)
		}
		if !slices.ContainsFunc(in.Timeline, func(e oncall.TimelineEntry) bool {
			return e.Delivery == d.Key && strings.Contains(e.Text, "delivered") && (d.Bundled == 0) == !strings.Contains(e.Text, "in one page")
		}) {
			r.t.Errorf("#%d: the timeline does not say how its page arrived", in.Number)
		}
	}
}

func TestAStormIsOnePageAfterTheFirst(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		began := time.Now()
		r.fire("first")
		r.fire(services(6)...)
		if pages := r.phonePages(); len(pages) != 1 || pages[0].At.Sub(began) > 10*time.Millisecond || pages[0].Count != 1 {
			t.Fatalf("the first page was not sent at once and alone: %+v", pages)
		}
		r.pass(time.Second)
		pages := r.phonePages()
		if len(pages) != 2 || pages[1].Count != 6 || pages[1].Title != "6 incidents, first: Session memory at 82%" {
			t.Fatalf("%d pages, %+v", len(pages), pages[len(pages)-1])
		}
		if !slices.Equal(pages[1].Numbers, []int64{2, 3, 4, 5, 6, 7}) {
			t.Errorf("it names %v", pages[1].Numbers)
		}
		r.settled(7)
		r.act(3, oncall.CmdAcknowledge, "")
		r.pass(time.Second)
		if got := r.far.ByIncident()[3]; len(got) != 2 || got[1].Type != "incident.acknowledged" || got[1].Number != 3 {
			t.Errorf("#3's pages: %+v", got)
		}
		r.pass(5 * time.Minute)
		r.settled(7)
		if n := len(r.phonePages()); n != 2 {
			t.Errorf("%d pages asked", n)
		}
	})
}

// While a bundle is tried again it stays what it was, and another one gathers what comes meanwhile. Each incident's next
// contact or tier goes on as if its page had gone by itself.
func TestABundleIsTriedAgainAsItWas(t *testing.T) {
	for name, fault := range map[string]pagertest.Fault{"500": pagertest.Error, "hang": pagertest.HangAfter, "reset": pagertest.ResetAfter} {
		t.Run(name, func(t *testing.T) {
			bubble(t, options{}, func(t *testing.T, r *rig) {
				var broken atomic.Bool
				broken.Store(true)
				r.far.FailWith(func(p pagertest.Page) pagertest.Fault {
					if broken.Load() && strings.HasPrefix(p.Path, "/page/ana") {
						return fault
					}
					return pagertest.Fault{}
				})
				r.fire(services(5)...)
				r.pass(500 * time.Millisecond)
				r.halt() // a crash keeps what was carried
				r.start()
				r.fire("later", "latest")
				r.pass(40 * time.Second)
				if in := r.incident(3); !slices.ContainsFunc(in.Timeline, func(e oncall.TimelineEntry) bool {
					return e.Kind == oncall.EntryNotDelivered && strings.Contains(e.Text, "not delivered within 30s")
				}) {
					t.Error("a page that is carried was not watched as one that goes by itself")
				}
				broken.Store(false)
				r.pass(2 * time.Minute)
				r.settled(7)
				counts := map[string]int{}
				for _, p := range r.phonePages() {
					counts[p.Key] = p.Count
				}
				total := 0
				for _, n := range counts {
					total += n
				}
				if total != 7 {
					t.Errorf("the pages %v go for %d incidents", counts, total)
				}
			})
		})
	}
}

func TestARefusedBundle(t *testing.T) {
	for name, c := range map[string]struct {
		fault    pagertest.Fault
		state    oncall.DeliveryState
		requests int // at most
	}{
		"minded as a bundle": {pagertest.Fault{Status: 400}, oncall.DeliveryDelivered, 2 + 6},
		"nothing is taken":   {pagertest.Fault{Status: 401}, oncall.DeliveryRefused, 2},
		"gone":               {pagertest.Gone, oncall.DeliveryRefused, 2},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, options{}, func(t *testing.T, r *rig) {
				requests := 0
				r.far.FailWith(func(p pagertest.Page) pagertest.Fault {
					if p.Path != "/page/ana-phone/0" {
						return pagertest.Fault{}
					}
					requests++
					if p.Count > 1 || c.state == oncall.DeliveryRefused {
						return c.fault
					}
					return pagertest.Fault{}
				})
				r.fire("first")
				r.fire(services(6)...)
				r.pass(10 * time.Second)
				for number := int64(3); number <= 7; number++ {
					if d := r.delivery(number, ana, oncall.KindTriggered); d.State != c.state {
						t.Errorf("#%d: %s %s", number, d.State, d.Error)
					}
				}
				if requests > c.requests {
					t.Errorf("%d requests", requests)
				}
				r.far.FailWith(nil)
			})
		})
	}
}

// One link acknowledges all that a page goes for, each on its own timeline, and each listed link its own.
func TestAcknowledgingABundle(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("first")
		r.fire(services(6)...)
		r.pass(time.Second)
		page := r.phonePages()[1]
		key, ok := oncall.CheckLink(r.policy.LinkKey, page.AckURL[strings.LastIndex(page.AckURL, "/")+1:])
		carrier, all := oncall.BundleLink(key)
		if !ok || !all || carrier != page.Key {
			t.Fatalf("the link %s is for %s", page.AckURL, key)
		}
		r.act(4, oncall.CmdAcknowledge, "")
		r.change(oncall.ChangeResolved, "service-00003")
		n, err := r.acts.AcknowledgeBundle(t.Context(), carrier, "ana by link", "link")
		if err != nil || n != 4 {
			t.Errorf("%d acknowledged, %v", n, err)
		}
		synctest.Wait()
		for number, want := range map[int64]string{1: "", 2: "ana by link", 3: "ana by link", 4: "ana", 7: "ana by link"} {
			if in := r.incident(number); in.AcknowledgedBy != want {
				t.Errorf("#%d is %s, acknowledged by %q", number, in.State, in.AcknowledgedBy)
			}
		}
		if got := r.entries(6, oncall.EntryAcknowledged); len(got) != 1 || !strings.Contains(got[0], "(link for 6 incidents)") {
			t.Errorf("#6: %q", got)
		}
		if n, err := r.acts.AcknowledgeBundle(t.Context(), carrier, "bo", "link"); n != 0 || err != nil {
			t.Errorf("again: %d, %v", n, err)
		}
		_, err = r.acts.AcknowledgeBundle(t.Context(), r.delivery(3, ana, oncall.KindTriggered).Key, "bo", "link")
		if oncall.ErrorCode(err) != oncall.CodeNotFound {
			t.Errorf("of a page that carries nothing: %v", err)
		}
		// The listed links are of one incident each.
		for i, url := range page.AckURLs {
			key, ok := oncall.CheckLink(r.policy.LinkKey, url[strings.LastIndex(url, "/")+1:])
			d, err := r.store.Delivery(t.Context(), key)
			if !ok || err != nil || d.Incident != page.Numbers[i] {
				t.Errorf("link %d is for #%d, not for #%d: %v", i, d.Incident, page.Numbers[i], err)
			}
		}
	})
}

// Many incidents at once: a handful of pages, with exact counts, each within its bounds. Ten thousand are in
// BenchmarkStorm, which checks the same.
func TestThousandsOfIncidentsAtOnce(t *testing.T) {
	n := 1500
	if testing.Short() {
		n = 400
	}
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire(services(n)...)
		r.pass(20 * time.Second)
		total := 0
		for _, p := range r.phonePages() {
			total += p.Count
			if p.Count > 200 && len(p.Numbers) < 20 {
				t.Errorf("a page for %d incidents names %d", p.Count, len(p.Numbers))
			}
		}
		if pages := r.phonePages(); total != n || len(pages) > 12 {
			t.Errorf("%d pages for %d of %d incidents", len(pages), total, n)
		}
		for _, number := range []int64{1, 2, int64(n / 2), int64(n)} {
			if d := r.delivery(number, ana, oncall.KindTriggered); d.State != oncall.DeliveryDelivered {
				t.Errorf("#%d: %s", number, d.State)
			}
		}
	})
}

// In a channel a storm is one message, which always comes to show how everything stands; what is said of several
// incidents at once is one reply in its thread, and what is said of one names it.
func TestAStormInAChannel(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		r.fire("first")
		r.fire(services(40)...)
		r.pass(30 * time.Second)
		byKind := func() map[oncall.DeliveryKind][]sentMessage {
			all := map[oncall.DeliveryKind][]sentMessage{}
			for _, s := range r.slack.all() {
				all[s.delivery.Kind] = append(all[s.delivery.Kind], s)
			}
			return all
		}
		sent := byKind()
		if ms := sent[oncall.KindMessage]; len(ms) != 2 || ms[0].bundle != nil || ms[1].bundle == nil || ms[1].bundle.Count != 40 {
			t.Fatalf("%d messages: %+v", len(ms), ms)
		}
		if n := len(sent[oncall.KindEdit]); n == 0 || n > 10 {
			t.Errorf("%d edits after what 41 pages came to", n)
		}
		before := len(r.slack.all())
		if n, err := r.acts.AcknowledgeBundle(t.Context(), r.phonePages()[1].Key, "ana", "link"); n != 40 || err != nil {
			t.Fatalf("%d acknowledged, %v", n, err)
		}
		r.pass(20 * time.Second)
		after := r.slack.all()[before:]
		if len(after) > 10 {
			t.Errorf("40 acknowledgements were shown by %d requests", len(after))
		}
		replied := 0
		for _, s := range after {
			if s.delivery.Kind != oncall.KindReply {
				continue
			}
			if s.bundle == nil || s.thread != after[0].thread {
				t.Errorf("a reply in %s names nobody", s.thread)
				continue
			}
			replied += s.bundle.Count
			for _, m := range s.bundle.Members {
				if !strings.Contains(string(m.Body), "Acknowledged by ana") || m.Incident.Number < 2 {
					t.Errorf("#%d: %s", m.Incident.Number, m.Body)
				}
			}
		}
		if replied != 40 {
			t.Errorf("the acknowledgement of %d was told", replied)
		}
		r.change(oncall.ChangeResolved, services(40)...)
		r.pass(30 * time.Second)
		var last sentMessage
		for _, s := range r.slack.all() {
			if s.delivery.Kind == oncall.KindEdit && s.bundle != nil {
				last = s
			}
		}
		if last.bundle == nil || last.bundle.States[oncall.IncidentResolved] != 40 {
			t.Errorf("what is shown in the end: %+v", last.bundle)
		}
		for number := range int64(41) {
			for _, d := range r.incident(number + 1).Deliveries {
				if !d.State.Final() {
					t.Errorf("#%d: %s to %s is %s", number+1, d.Kind, d.Endpoint, d.State)
				}
			}
		}
	})
}
