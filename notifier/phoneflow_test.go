package notifier_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"tocsin/notifier"
	"tocsin/notifier/outgoing"
	"tocsin/notifier/pager"
	"tocsin/notifier/pager/pagertest"
	"tocsin/oncall"
)

const twilioAccount = "AC00000000000000000000000000000001"

// telephone is Twilio behind a rig: ana is called, and then sent an SMS.
type telephone struct {
	*rig
	far *pagertest.Twilio
	mux *http.ServeMux
}

func withTelephone(t *testing.T, test func(*testing.T, *telephone)) {
	o := options{policy: func(p *oncall.Policy) {
		p.ExternalURL, p.LinkKey = "https://tocsin.example", []byte("link key")
		esc := p.Escalations["oncall"]
		esc.Tiers = []oncall.Tier{{Targets: []oncall.Target{{Kind: oncall.TargetUser, Name: "ana"}}}}
		esc.DeliverWithin = time.Minute
		p.Escalations["oncall"] = esc
		p.Receivers["voice"] = oncall.Receiver{Name: "voice", Endpoints: []oncall.Endpoint{"call:voice/0"}}
		p.Receivers["text"] = oncall.Receiver{Name: "text", Endpoints: []oncall.Endpoint{"sms:text/0"}}
		p.Users["ana"] = oncall.User{Name: "ana", Contacts: []oncall.Contact{{Receiver: "voice"}, {Receiver: "text", After: 10 * time.Minute}}}
	}}
	bubble(t, o, func(t *testing.T, r *rig) {
		p := &telephone{rig: r, far: pagertest.NewTwilio(twilioAccount, "token"), mux: http.NewServeMux()}
		u, err := url.Parse("https://api.twilio.com")
		if err != nil {
			t.Fatal(err)
		}
		entry := pager.Twilio{URL: u, Account: twilioAccount, Token: "token", From: "+15005550006", To: "+34600123456", Machine: true,
			Language: "en-US", Ring: 25 * time.Second, HTTP: outgoing.DefaultSettings().HTTP}
		call := entry
		call.Voice = true
		entries := map[oncall.Endpoint]pager.Twilio{"call:voice/0": call, "sms:text/0": entry}
		s, err := pager.NewPhone(entries, pager.PhoneOptions{Transport: p.far})
		if err != nil {
			t.Fatal(err)
		}
		hooks := pager.NewPhoneHooks(pager.PhoneHookOptions{Acts: r.acts, Delivery: r.store.Delivery, Policy: func() oncall.Policy { return r.policy }})
		hooks.Apply(entries)
		p.mux.Handle("POST /hooks/twilio/sms", hooks)
		p.mux.Handle("POST /hooks/twilio/{token}/{what}", hooks)
		r.more = map[string]notifier.Sender{"call": s, "sms": s}
		r.apply(r.policy)
		test(t, p)
		for _, x := range p.far.Problems() {
			t.Error(x)
		}
	})
}

// hear delivers a report twice, as Twilio may, and returns what was answered first.
func (p *telephone) hear(r, again *http.Request) string {
	p.t.Helper()
	first := ""
	for i, r := range []*http.Request{r, again} {
		w := httptest.NewRecorder()
		p.mux.ServeHTTP(w, r)
		if w.Code >= 300 {
			p.t.Errorf("%s was answered %d: %s", r.URL.Path, w.Code, w.Body)
		}
		if i == 0 {
			first = w.Body.String()
		}
	}
	p.pass(time.Second) // of the bubble: what follows is sent
	return first
}

func (p *telephone) ended(n int, status string) {
	p.hear(p.far.Ended(p.t.Context(), p.far.Asked()[n], status), p.far.Ended(p.t.Context(), p.far.Asked()[n], status))
}

func (p *telephone) standing(n int) string {
	ds := p.incident(1).Deliveries
	if n >= len(ds) {
		return "none"
	}
	return string(ds[n].State) + " " + string(ds[n].Confirmation)
}

func (p *telephone) want(what string, got, want any) {
	p.t.Helper()
	if got != want {
		p.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestCallAnswered: a key acknowledges in the name of who was called; nothing else does.
func TestCallAnswered(t *testing.T) {
	withTelephone(t, func(t *testing.T, p *telephone) {
		p.fire("a")
		p.pass(2 * time.Second)
		p.want("at first", p.standing(0), "accepted waiting")
		call := p.far.Asked()[0]
		press := func(key string) string {
			return p.hear(p.far.Press(t.Context(), call, key), p.far.Press(t.Context(), call, key))
		}
		if said := press("1"); !strings.Contains(said, "Incident 1.") || !strings.Contains(said, "<Gather") || strings.Contains(said, "></Say>") {
			t.Errorf("to 1 it says %s", said)
		}
		p.want("after 1", p.standing(0)+" "+string(p.incident(1).State), "delivered confirmed triggered")
		if said := press("4"); !strings.Contains(said, "incident 1 is acknowledged by ana by phone") {
			t.Errorf("to 4 it says %s", said)
		}
		p.want("after 4", p.incident(1).AcknowledgedBy, "ana by phone")
		p.ended(0, "completed")
		p.want("at the end", p.standing(0), "delivered confirmed")
		p.want("calls", len(p.far.Asked()), 1)

		forged := p.far.Press(t.Context(), call, "6")
		forged.Header.Set("X-Twilio-Signature", "bm8=")
		w := httptest.NewRecorder()
		p.mux.ServeHTTP(w, forged)
		p.want("a forged key", w.Code, http.StatusForbidden)
	})
}

// TestCallUnanswered: who does not answer, or lets voicemail answer, is tried by the next contact at once; a reply acknowledges.
func TestCallUnanswered(t *testing.T) {
	for _, how := range []string{"busy", "no-answer", "completed", "voicemail"} {
		t.Run(how, func(t *testing.T) {
			withTelephone(t, func(t *testing.T, p *telephone) {
				p.fire("a")
				p.pass(2 * time.Second)
				if call := p.far.Asked()[0]; how == "voicemail" {
					p.hear(p.far.Answered(t.Context(), call, "machine_start"), p.far.Answered(t.Context(), call, "machine_start"))
				} else {
					p.ended(0, how)
				}
				p.want("the call", p.standing(0), "refused failed")
				if len(p.far.Asked()) != 2 {
					t.Fatalf("%d requests", len(p.far.Asked()))
				}
				p.want("the SMS", p.standing(1), "accepted waiting")
				p.ended(1, "sent")
				p.want("the SMS under way", p.standing(1), "accepted waiting")
				p.ended(1, "delivered")
				p.want("the SMS at the end", p.standing(1), "delivered confirmed")
				reply := func(from, body string) string {
					form := func() url.Values { return url.Values{"From": {from}, "Body": {body}, "MessageSid": {"SMx" + body}} }
					to := "https://tocsin.example/hooks/twilio/sms"
					return p.hear(p.far.Report(t.Context(), to, form()), p.far.Report(t.Context(), to, form()))
				}
				reply("+34600999999", "ack 1") // nobody that is paged
				p.want("after a stranger's", p.incident(1).State, oncall.IncidentTriggered)
				if said := reply("+34600123456", "ack 7"); !strings.Contains(said, "#7 is not open") {
					t.Error(said)
				}
				if said := reply("+34600123456", "Ack"); !strings.Contains(said, "#1 is acknowledged by ana") {
					t.Error(said)
				}
				p.want("after the reply", p.incident(1).AcknowledgedBy, "ana")
			})
		})
	}
}

// TestKeyAfterVoicemail: Twilio takes a person for voicemail, who presses 4 all the same. The next contact was tried meanwhile,
// and the record ends by saying what was.
func TestKeyAfterVoicemail(t *testing.T) {
	withTelephone(t, func(t *testing.T, p *telephone) {
		p.fire("a")
		p.pass(2 * time.Second)
		call := p.far.Asked()[0]
		p.hear(p.far.Answered(t.Context(), call, "machine_end_beep"), p.far.Answered(t.Context(), call, "machine_end_beep"))
		p.want("taken for voicemail", p.standing(0)+" "+string(p.incident(1).State), "refused failed triggered")
		p.want("requests", len(p.far.Asked()), 2)
		p.hear(p.far.Press(t.Context(), call, "4"), p.far.Press(t.Context(), call, "4"))
		p.want("after 4", p.standing(0)+" "+p.incident(1).AcknowledgedBy, "delivered confirmed ana by phone")
		p.ended(0, "completed")
		p.want("at the end", p.standing(0), "delivered confirmed")
	})
}

// TestNeverConfirmed: nothing is heard of a call: the next contact does not wait for it, and it counts when it is heard after all.
func TestNeverConfirmed(t *testing.T) {
	withTelephone(t, func(t *testing.T, p *telephone) {
		p.fire("a")
		p.pass(50 * time.Second)
		p.want("requests before deliver_within", len(p.far.Asked()), 1)
		p.pass(15 * time.Second)
		p.want("requests after deliver_within", len(p.far.Asked()), 2)
		p.pass(20 * time.Minute)
		p.want("never confirmed", p.incident(1).Deliveries[0].NeverConfirmed(time.Now()), true)
		call := p.far.Asked()[0]
		p.hear(p.far.Press(t.Context(), call, "4"), p.far.Press(t.Context(), call, "4"))
		p.want("late", p.standing(0)+" "+p.incident(1).AcknowledgedBy, "delivered confirmed ana by phone")
	})
}
