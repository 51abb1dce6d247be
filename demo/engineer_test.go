package demo

import (
	"testing"
	"time"
)

func TestTheEngineersPart(t *testing.T) {
	open := &incident{Number: 2, State: "triggered", Escalation: escalationMain}
	acked := &incident{Number: 2, State: "acknowledged", Escalation: escalationMain}
	over := &incident{Number: 2, State: "resolved", Escalation: escalationMain}
	for _, tc := range []struct {
		name string
		s    situation
		want deed
	}{
		{"nothing happened", situation{now: at(12, 50)}, deedNone},
		{"nobody was told yet", situation{now: at(13, 2), incident: open}, deedNone},
		{"bo wakes up", situation{now: at(13, 11), incident: open, told: at(13, 10)}, deedNone},
		{"bo is awake", situation{now: at(13, 12), incident: open, told: at(13, 10)}, deedAck},
		{"just tried", situation{now: at(13, 12), incident: open, told: at(13, 10), lastTry: at(13, 12)}, deedNone},
		{"bo looks", situation{now: at(13, 13), incident: acked, told: at(13, 10), acked: at(13, 12)}, deedNone},
		{"bo restarts", situation{now: at(13, 14), incident: acked, told: at(13, 10), acked: at(13, 12)}, deedRestart},
		{"the visitor was first", situation{now: at(13, 14), incident: acked, acked: at(13, 1), restarted: true}, deedNone},
		{"it is over by itself", situation{now: at(13, 14), incident: over, acked: at(13, 1)}, deedNone},
		{"the fix is ready", situation{now: at(13, 42), incident: over, acked: at(13, 12), restarted: true}, deedPatch},
		{"all done", situation{now: at(14, 42), incident: over, acked: at(13, 12), restarted: true, patched: true}, deedNone},
	} {
		if got := next(tc.s); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestMomentsTellTheStoryOnce(t *testing.T) {
	c := clock{began: time.Unix(1_800_000_000, 0), speed: 40}
	in := incident{Number: 2, State: "resolved", Escalation: escalationMain, TriggeredAt: c.real(at(13, 0)),
		AcknowledgedAt: c.real(at(13, 12)), AcknowledgedBy: "bo", ResolvedAt: c.real(at(13, 17))}
	s := seen{incidents: []incident{in}, tellings: []telling{{"ana", c.real(at(13, 5)), "by Slack DM"}}}
	want := map[string]string{
		"open#2": "13:00", "over#2": "13:17",
	}
	keys := map[string]bool{}
	for _, m := range s.moments(c) {
		if keys[m.key] {
			t.Errorf("%q is said twice", m.key)
		}
		keys[m.key] = true
		if w, ok := want[m.key]; ok && hhmm(m.at) != w {
			t.Errorf("%s at %s, want %s", m.key, hhmm(m.at), w)
		}
	}
	if len(keys) != 4 {
		t.Errorf("moments %v, want opened, paged, acknowledged, resolved", keys)
	}
}
