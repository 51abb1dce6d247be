package notifier_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// withChecks is a store in which some contacts failed in their last drills.
type withChecks struct {
	notifier.HandoffStore
	checks []oncall.ContactCheck
}

func (f withChecks) ContactChecks(context.Context) ([]oncall.ContactCheck, error) {
	return f.checks, nil
}

func failedCheck(user string, e oncall.Endpoint) oncall.ContactCheck {
	return oncall.ContactCheck{User: user, Contact: "contact " + string(e), Endpoint: e, Result: oncall.CheckFailed, Failure: "refused", Drill: 7}
}

// tellPeople has the people of the stage's schedule told of their shifts, some of whose contacts failed.
func (s *stage) tellPeople(change func(p *oncall.Policy, rota *oncall.Schedule), checks ...oncall.ContactCheck) {
	s.mu.Lock()
	rota := s.policy.Schedules["primary"]
	rota.NotifyPeople, rota.NotifyBefore = true, oncall.DefaultNotifyBefore
	for name, u := range s.policy.Users {
		u.Slack = "U-" + name
		s.policy.Users[name] = u
	}
	if change != nil {
		change(&s.policy, &rota)
	}
	s.policy.Schedules["primary"] = rota
	s.mu.Unlock()
	s.refusing.HandoffStore = withChecks{s.store, checks}
	s.apply()
}

// TestShiftNotices: who comes on call is told in their daytime before, and when it begins; who goes, when it ends. Each
// once, over restarts.
func TestShiftNotices(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.tellPeople(func(_ *oncall.Policy, rota *oncall.Schedule) { rota.NotifySlack = "" })
		s.run(time.Hour)
		s.want()
		s.board.fail = 1
		s.run(8*time.Hour + time.Minute)
		s.want("1T09:00:00 to U-bo: bo ahead of primary from 2T00:00, with [ana], 0 failed, 0 open, channel false, attempt 1",
			"1T09:00:01 to U-bo: bo ahead of primary from 2T00:00, with [ana], 0 failed, 0 open, channel false, attempt 2")
		s.run(time.Hour)
		s.want()
		s.run(14 * time.Hour)
		got := strings.Split(s.board.take(), "\n")
		if len(got) != 2 || !strings.HasPrefix(got[0]+got[1], "2T00:00:00 to U-") || !strings.Contains(got[0]+got[1], "bo on of primary from 2T00:00, with [ana]") ||
			!strings.Contains(got[0]+got[1], "ana off of primary from 2T00:00, with [bo]") {
			t.Errorf("at the handoff: %q", got)
		}
	})
}

// TestShiftNoticesByWhatWorks: a broken contact is named before the shift, by one that works: by Slack where that does,
// else by the quietest other one, else in the schedule's channel. A telephone rings for nothing else.
func TestShiftNoticesByWhatWorks(t *testing.T) {
	contacts := func(p *oncall.Policy, rota *oncall.Schedule) {
		rota.NotifySlack = "#team"
		p.Receivers["bo-call"] = oncall.Receiver{Name: "bo-call", Endpoints: []oncall.Endpoint{"call:bo-call/0"}}
		p.Receivers["bo-desk"] = oncall.Receiver{Name: "bo-desk", Integrations: []oncall.Integration{{Endpoint: "pagerduty_configs:bo-desk/0"}}}
		bo := p.Users["bo"]
		bo.Contacts = []oncall.Contact{{Slack: "dm"}, {Receiver: "bo-desk"}, {Receiver: "bo-call"}, {Receiver: "bo-phone"}}
		p.Users["bo"] = bo
	}
	slack, page, call := failedCheck("bo", "slack:U-bo"), failedCheck("bo", "page:bo-phone/0"), failedCheck("bo", "call:bo-call/0")
	const told = "1T09:00:00 page to "
	for name, c := range map[string]struct {
		checks []oncall.ContactCheck
		change func(*oncall.Policy)
		want   string
	}{
		"page broken":  {[]oncall.ContactCheck{page}, nil, "1T09:00:00 to U-bo: bo ahead of primary from 2T00:00, with [ana], 1 failed, 0 open, channel false, attempt 1"},
		"Slack broken": {[]oncall.ContactCheck{slack}, nil, told + "page:bo-phone/0: TEST: bo, you are on call by primary from Sun 2 Jan 00:00 UTC. This contact works; what failed in your last drill: contact slack:U-bo. Mend it before then, and drill again."},
		"both broken":  {[]oncall.ContactCheck{slack, page}, nil, told + "call:bo-call/0: TEST: bo, you are on call by primary from Sun 2 Jan 00:00 UTC. This contact works; what failed in your last drill: contact slack:U-bo, contact page:bo-phone/0. Mend it before then, and drill again."},
		"all broken":   {[]oncall.ContactCheck{slack, page, call}, nil, "1T09:00:00 to #team: bo ahead of primary from 2T00:00, with [ana], 3 failed, 0 open, channel true, attempt 1"},
		"no Slack, nothing broken": {nil, func(p *oncall.Policy) {
			bo := p.Users["bo"]
			bo.Slack, bo.Contacts = "", bo.Contacts[1:]
			p.Users["bo"] = bo
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				s.tellPeople(func(p *oncall.Policy, rota *oncall.Schedule) {
					contacts(p, rota)
					if c.change != nil {
						c.change(p)
					}
				}, c.checks...)
				s.run(12 * time.Hour)
				s.want(c.want)
			})
		})
	}
}

// TestShiftNoticesFollowChanges: a shift that an override takes away is announced to nobody any more, one that it gives is.
func TestShiftNoticesFollowChanges(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.tellPeople(func(_ *oncall.Policy, rota *oncall.Schedule) { rota.NotifySlack = "" })
		s.run(8 * time.Hour)
		_, err := s.overrides.Add(t.Context(), oncall.OverrideWish{Schedule: "primary", User: "cy", From: time.Now().Add(16 * time.Hour), For: 24 * time.Hour, Actor: "dee"}, "r")
		if err != nil {
			t.Fatal(err)
		}
		s.run(2 * time.Hour)
		s.want("1T09:00:00 to U-cy: cy ahead of primary from 2T00:00, with [ana], 0 failed, 0 open, channel false, attempt 1")
	})
}

// bySlackAndPhone has bo live at a distance from UTC, and reached by Slack and a page; more are further contacts.
func bySlackAndPhone(east time.Duration, more ...oncall.Contact) func(p *oncall.Policy, rota *oncall.Schedule) {
	return func(p *oncall.Policy, rota *oncall.Schedule) {
		rota.NotifySlack = ""
		p.Receivers["bo-mail"] = oncall.Receiver{Name: "bo-mail", Integrations: []oncall.Integration{{Endpoint: "email_configs:bo-mail/0"}}}
		bo := p.Users["bo"]
		bo.Location = time.FixedZone("there", int(east/time.Second))
		bo.Contacts = append([]oncall.Contact{{Slack: "dm"}, {Receiver: "bo-phone"}}, more...)
		p.Users["bo"] = bo
	}
}

// TestShiftNoticesAtNight: where no daytime comes before the shift, what would ring is left alone; Slack and mail are not.
func TestShiftNoticesAtNight(t *testing.T) {
	slack, page := failedCheck("bo", "slack:U-bo"), failedCheck("bo", "page:bo-phone/0")
	const (
		says   = "TEST: bo, you are on call by primary from Sun 2 Jan 00:00 UTC. This contact works; "
		direct = " to U-bo: bo ahead of primary from 2T00:00, with [ana], "
		mend   = ". Mend it before then, and drill again."
	)
	for name, c := range map[string]struct {
		day    bool // else bo sleeps from when he is to be told until the shift
		mail   bool
		refuse bool
		checks []oncall.ContactCheck
		want   []string
	}{
		"refused in the daytime": {true, false, true, nil, []string{"1T16:00:00" + direct + "0 failed, 0 open, channel false, attempt 1",
			"1T16:00:00 page to page:bo-phone/0: " + says + "this message was refused by slack:U-bo (channel_not_found)" + mend}},
		"refused at night": {false, false, true, nil, []string{"1T16:00:00" + direct + "0 failed, 0 open, channel false, attempt 1"}},
		"broken at night":  {false, false, false, []oncall.ContactCheck{slack}, nil},
		"mail at night": {false, true, false, []oncall.ContactCheck{slack}, []string{
			"1T16:00:00 page to email_configs:bo-mail/0: " + says + "what failed in your last drill: contact slack:U-bo" + mend}},
		"Slack at night": {false, false, false, []oncall.ContactCheck{page}, []string{"1T16:00:00" + direct + "1 failed, 0 open, channel false, attempt 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				s.board.refuse = map[string]bool{"U-bo": c.refuse}
				s.tellPeople(func(p *oncall.Policy, rota *oncall.Schedule) {
					var more []oncall.Contact
					if c.mail {
						more = []oncall.Contact{{Receiver: "bo-mail"}}
					}
					east := 8 * time.Hour // from midnight until 8 o'clock
					if c.day {
						east = 0
					}
					bySlackAndPhone(east, more...)(p, rota)
					rota.NotifyBefore = 8 * time.Hour
				}, c.checks...)
				s.run(23 * time.Hour)
				s.want(c.want...)
			})
		})
	}
}

// TestShiftNoticesWaitForDaytime: Slack refuses when the daytime is over, and the next one comes before the shift.
func TestShiftNoticesWaitForDaytime(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.board.refuse, s.board.fail = map[string]bool{"U-bo": true}, 8 // for more than a minute
		s.tellPeople(bySlackAndPhone(-6*time.Hour - time.Minute))       // it is 17:59 there
		s.run(15 * time.Hour)
		if got := s.board.take(); !strings.HasPrefix(got, "1T00:00:00 to U-bo") || strings.Contains(got, "page to") {
			t.Errorf("while bo sleeps: %s", got)
		}
		s.run(2 * time.Minute)
		if got := s.board.take(); !strings.HasPrefix(got, "1T15:01:00 page to page:bo-phone/0: TEST: bo, you are on call") {
			t.Errorf("when his day begins: %q", got)
		}
	})
}

// TestShiftNoticesRefusedByAll: the channel is told where everything refused.
func TestShiftNoticesRefusedByAll(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.board.refuse = map[string]bool{"U-bo": true}
		s.tellPeople(nil)
		s.run(12 * time.Hour)
		s.want("1T09:00:00 to U-bo: bo ahead of primary from 2T00:00, with [ana], 0 failed, 0 open, channel false, attempt 1",
			"1T09:00:00 to #team: bo ahead of primary from 2T00:00, with [ana], 0 failed, 0 open, channel true, attempt 2")
	})
}
