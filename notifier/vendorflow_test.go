package notifier_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"

	"tocsin/notifier"
	"tocsin/notifier/pager"
	"tocsin/notifier/pager/pagertest"
	"tocsin/oncall"
)

const (
	dutyKey    = "0123456789abcdef0123456789abcdef"
	genieKey   = "eb243592-faa2-4ba2-a551q-1afdf565c889"
	hookSecret = "secret-of-the-webhook"
)

// vendors are PagerDuty and Opsgenie behind a rig, both told by its one tier.
type vendors struct {
	*rig
	duty  *pagertest.PagerDuty
	genie *pagertest.Opsgenie
	hooks *pager.Hooks
}

var bo = pagertest.Agent{ID: "PBO", Summary: "Bo", Type: "user_reference"}

// withVendors runs a test in a bubble. 30 minutes after an acknowledgement the incident is un-acknowledged.
func withVendors(t *testing.T, test func(*testing.T, *vendors)) {
	duty, genie := oncall.IntegrationEndpoint("pagerduty_configs", "both", 0), oncall.IntegrationEndpoint("opsgenie_configs", "both", 0)
	o := options{policy: func(p *oncall.Policy) {
		esc := p.Escalations["oncall"]
		esc.AckTimeout = 30 * time.Minute
		esc.Tiers = []oncall.Tier{{Targets: []oncall.Target{{Kind: oncall.TargetReceiver, Name: "both"}}}}
		p.Escalations["oncall"] = esc
		p.Receivers["both"] = oncall.Receiver{Name: "both", Integrations: []oncall.Integration{
			{Endpoint: duty, SendResolved: true, Acks: true}, {Endpoint: genie, SendResolved: true, Acks: true}}}
		p.Users["bo"] = oncall.User{Name: "bo", Email: "bo@shop.example", Contacts: []oncall.Contact{{Receiver: "bo-phone"}}}
	}}
	bubble(t, o, func(t *testing.T, r *rig) {
		v := &vendors{rig: r, duty: pagertest.NewPagerDuty(dutyKey), genie: pagertest.NewOpsgenie(genieKey, "")}
		v.duty.SignWith("an-older-secret-of-it", hookSecret)
		v.hooks = pager.NewHooks(pager.HookOptions{Acts: r.acts, Policy: func() oncall.Policy { return r.policy }})
		v.hooks.Apply(map[pager.HookName]pager.Hook{{Vendor: "pagerduty", Receiver: "both"}: {Secrets: []string{hookSecret}}, {Vendor: "opsgenie", Receiver: "both"}: {Secrets: []string{hookSecret}}})
		account := func(address, key string) pager.Account {
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			return pager.Account{URL: u, Key: func() (string, error) { return key, nil }, HTTP: promconfig.DefaultHTTPClientConfig}
		}
		pd, err := pager.NewPagerDuty(map[oncall.Endpoint]pager.Account{duty: account("https://events.pagerduty.com/v2/enqueue", dutyKey)}, pager.AccountOptions{Transport: v.duty})
		if err != nil {
			t.Fatal(err)
		}
		og, err := pager.NewOpsgenie(map[oncall.Endpoint]pager.Account{genie: account("https://api.opsgenie.com/", genieKey)}, pager.AccountOptions{Transport: v.genie})
		if err != nil {
			t.Fatal(err)
		}
		r.more = map[string]notifier.Sender{"pagerduty_configs": pd, "opsgenie_configs": og}
		r.apply(r.policy)
		test(t, v)
		for _, p := range slices.Concat(v.duty.Problems(), v.genie.Problems()) {
			t.Error(p)
		}
	})
}

// report delivers what waits to be reported, each twice, as a far end does that had no answer.
func (v *vendors) report() {
	v.t.Helper()
	for vendor, reports := range map[string][]*http.Request{"pagerduty": v.duty.Reports(), "opsgenie": v.genie.Reports()} {
		for _, r := range reports {
			for range 2 {
				if status := v.hear(vendor, r); status != http.StatusOK {
					v.t.Errorf("a report of %s was answered %d", vendor, status)
				}
			}
		}
	}
	v.pass(5 * time.Second)
}

// hear delivers one report.
func (v *vendors) hear(vendor string, r *http.Request) int {
	v.t.Helper()
	body, err := r.GetBody()
	if err != nil {
		v.t.Fatal(err)
	}
	in := r.Clone(v.t.Context())
	in.Body = body
	if vendor == "opsgenie" {
		in.Header.Set("Authorization", "Bearer "+hookSecret)
	}
	w := httptest.NewRecorder()
	v.hooks.Handler(vendor, "both").ServeHTTP(w, in)
	return w.Code
}

// want checks where the incident stands here and there, and what both far ends were told so far.
func (v *vendors) want(state oncall.IncidentState, duty, genie []string) {
	v.t.Helper()
	in := v.incident(1)
	if in.State != state {
		v.t.Errorf("the incident is %s, want %s", in.State, state)
	}
	if got := v.duty.Actions(in.Key); !slices.Equal(got, duty) {
		v.t.Errorf("PagerDuty was told %q, want %q", got, duty)
	}
	if got := v.genie.Verbs(in.Key); !slices.Equal(got, genie) {
		v.t.Errorf("Opsgenie was told %q, want %q", got, genie)
	}
}

// open fires an alert, and waits until both far ends have it.
func (v *vendors) open() oncall.Incident {
	v.fire("session")
	v.pass(5 * time.Second)
	v.report()
	v.want(oncall.IncidentTriggered, []string{"trigger"}, []string{"create"})
	return v.incident(1)
}

// TestAcknowledgedHere: both far ends hear of what is done here, and what they report of it changes nothing.
func TestAcknowledgedHere(t *testing.T) {
	withVendors(t, func(t *testing.T, v *vendors) {
		in := v.open()
		v.act(1, oncall.CmdAcknowledge, "")
		v.pass(5 * time.Second)
		v.report()
		v.want(oncall.IncidentAcknowledged, []string{"trigger", "acknowledge"}, []string{"create", "acknowledge"})
		if d, g := v.duty.Status(in.Key), v.genie.Status(in.Key); d != "acknowledged" || g != "acked" {
			t.Errorf("there it is %s and %s", d, g)
		}
		v.change(oncall.ChangeResolved, "session")
		v.pass(5 * time.Second)
		v.report()
		v.want(oncall.IncidentResolved, []string{"trigger", "acknowledge", "resolve"}, []string{"create", "acknowledge", "close"})
		if got := v.incident(1); got.AcknowledgedBy != "ana" || got.ResolvedBy != "" {
			t.Errorf("acknowledged by %q, resolved by %q", got.AcknowledgedBy, got.ResolvedBy)
		}
	})
}

// TestAcknowledgedThere: what a person does at one far end is done here and at the other, and not told back.
func TestAcknowledgedThere(t *testing.T) {
	withVendors(t, func(t *testing.T, v *vendors) {
		in := v.open()
		v.duty.Do(in.Key, "acknowledge", bo)
		v.report()
		v.report()
		v.want(oncall.IncidentAcknowledged, []string{"trigger"}, []string{"create", "acknowledge"})
		if got := v.incident(1); got.AcknowledgedBy != "bo" || got.Acks != 1 {
			t.Errorf("acknowledged by %q, %d times", got.AcknowledgedBy, got.Acks)
		}
		v.genie.Do(in.Key, "Close", "Bo@shop.example", "")
		v.report()
		v.report()
		v.want(oncall.IncidentResolved, []string{"trigger", "resolve"}, []string{"create", "acknowledge"})
		if got := v.incident(1); got.ResolvedBy != "bo" {
			t.Errorf("resolved by %q", got.ResolvedBy)
		}
	})
}

// TestUnacknowledgedThere: nobody has it any more, so people are told anew; Opsgenie, which would keep quiet about an
// alert that is acknowledged there, is told that it is not.
func TestUnacknowledgedThere(t *testing.T) {
	withVendors(t, func(t *testing.T, v *vendors) {
		in := v.open()
		v.duty.Do(in.Key, "acknowledge", pagertest.Agent{ID: "PX", Summary: "Jane\nDoe", Type: "user_reference"})
		v.report()
		if got := v.incident(1); got.AcknowledgedBy != "Jane Doe (PagerDuty)" {
			t.Errorf("acknowledged by %q", got.AcknowledgedBy)
		}
		v.duty.Do(in.Key, "unacknowledge", pagertest.Agent{}) // its acknowledgement timeout
		v.report()
		v.report()
		v.want(oncall.IncidentTriggered, []string{"trigger", "trigger"}, []string{"create", "acknowledge", "create", "unacknowledge"})
		if d, g := v.duty.Status(in.Key), v.genie.Status(in.Key); d != "triggered" || g != "open" {
			t.Errorf("there it is %s and %s", d, g)
		}
	})
}

// TestOldEchoes: a report of our own acknowledgement that comes late does not acknowledge anew, and a timer there
// resolves nothing here.
func TestOldEchoes(t *testing.T) {
	withVendors(t, func(t *testing.T, v *vendors) {
		in := v.open()
		v.act(1, oncall.CmdAcknowledge, "")
		v.pass(5 * time.Second)
		v.act(1, oncall.CmdUnacknowledge, "")
		v.pass(5 * time.Second)
		v.report()
		v.want(oncall.IncidentTriggered, []string{"trigger", "acknowledge", "trigger"}, []string{"create", "acknowledge", "create", "unacknowledge"})
		v.duty.Do(in.Key, "resolve", pagertest.Agent{ID: "PS", Summary: "Shop", Type: "service_reference"})
		v.report()
		if got := v.incident(1).State; got != oncall.IncidentTriggered {
			t.Errorf("a timer of PagerDuty's made it %s", got)
		}
	})
}

// TestNotedThere: notes, escalations and reassignments are put on record.
func TestNotedThere(t *testing.T) {
	withVendors(t, func(t *testing.T, v *vendors) {
		in := v.open()
		v.duty.Annotate(in.Key, "looking at the heap", bo)
		v.duty.Do(in.Key, "escalate", pagertest.Agent{})
		v.duty.Do(in.Key, "reassign", bo)
		v.duty.Do(in.Key, "priority", bo)
		v.genie.Do(in.Key, "AddNote", "ana@shop.example", "restarted")
		v.report()
		v.duty.Do(in.Key, "resolve", bo)
		v.duty.Do(in.Key, "reopen", bo)
		v.report()
		var got []string
		for _, e := range v.incident(1).Timeline {
			if e.Kind == oncall.EntryNote {
				got = append(got, e.Actor+": "+e.Text)
			}
		}
		slices.Sort(got)
		want := []string{"PagerDuty: escalated to Bo in PagerDuty", "ana@shop.example (Opsgenie): restarted", "bo: looking at the heap", "bo: reassigned to Bo in PagerDuty",
			"bo: reopened in PagerDuty; here it stays resolved, and a new incident opens if its alerts fire"}
		if !slices.Equal(got, want) {
			t.Errorf("noted %q, want %q", got, want)
		}
	})
}

// TestKilledBetween: a process that dies between sending and committing sends again under the same key, and a report that
// was not answered comes again.
func TestKilledBetween(t *testing.T) {
	withVendors(t, func(t *testing.T, v *vendors) {
		v.duty.Fail(pagertest.ResetAfter)
		v.genie.Fail(pagertest.ErrorAfter)
		v.fire("session")
		v.halt()
		v.start()
		v.pass(10 * time.Second)
		in := v.incident(1)
		for _, e := range v.duty.Events() {
			if e.Dedup != in.Key || e.Action != "trigger" {
				t.Errorf("%s under %s", e.Action, e.Dedup)
			}
		}
		if d, g := len(v.duty.Actions(in.Key)), len(v.genie.Verbs(in.Key)); d != 2 || g != 2 {
			t.Errorf("told %d and %d times", d, g)
		}
		v.duty.Do(in.Key, "acknowledge", bo)
		for _, r := range v.duty.Reports() {
			v.hear("pagerduty", r)
			v.halt()
			v.start()
			v.hear("pagerduty", r)
		}
		v.pass(10 * time.Second)
		if got := v.incident(1); got.Acks != 1 || v.genie.Status(in.Key) != "acked" || v.duty.Status(in.Key) != "acknowledged" {
			t.Errorf("%d acknowledgements; there it is %s and %s", got.Acks, v.duty.Status(in.Key), v.genie.Status(in.Key))
		}
	})
}

// TestNeverGotThere: a far end that refused the trigger hears of nothing else, and the other is told all the same.
func TestNeverGotThere(t *testing.T) {
	withVendors(t, func(t *testing.T, v *vendors) {
		v.duty.Fail(pagertest.NotFound)
		v.fire("session")
		v.pass(5 * time.Second)
		v.act(1, oncall.CmdAcknowledge, "")
		v.act(1, oncall.CmdResolve, "")
		v.pass(5 * time.Second)
		v.want(oncall.IncidentResolved, nil, []string{"create", "acknowledge", "close"})
	})
}

// TestWhileDown: the end of an outage there leaves the right final state.
func TestWhileDown(t *testing.T) {
	withVendors(t, func(t *testing.T, v *vendors) {
		v.duty.FailWith(func() pagertest.Fault { return pagertest.Busy })
		v.genie.FailWith(func() pagertest.Fault { return pagertest.HangAfter })
		v.fire("session")
		v.pass(time.Minute)
		v.act(1, oncall.CmdAcknowledge, "")
		v.pass(10 * time.Minute)
		v.duty.FailWith(nil)
		v.genie.FailWith(nil)
		v.pass(3 * time.Minute)
		in := v.incident(1)
		if d, g := v.duty.Status(in.Key), v.genie.Status(in.Key); d != "acknowledged" || g != "acked" {
			t.Errorf("there it is %s and %s", d, g)
		}
	})
}
