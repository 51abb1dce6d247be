package oncall_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"tocsin/oncall"
)

// pulses keeps heartbeats as the store does, and lets time pass.
type pulses struct {
	now    time.Time
	all    []oncall.Heartbeat
	states map[string]oncall.HeartbeatState
	said   []string        // "firing backup: reason"
	firing map[string]bool // label sets
	fail   func(format string, args ...any)
}

func newPulses(fail func(string, ...any), all ...oncall.Heartbeat) *pulses {
	return &pulses{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), all: all, states: map[string]oncall.HeartbeatState{}, firing: map[string]bool{}, fail: fail}
}

func (p *pulses) beat(name string) {
	st := p.states[name]
	st.Name = name
	if p.now.After(st.LastAt) {
		st.LastAt = p.now
	}
	p.states[name] = st
}

func (p *pulses) list() (l []oncall.HeartbeatState) {
	for _, st := range p.states {
		l = append(l, st)
	}
	return l
}

// decide decides twice, commits, and finds that nothing more follows.
func (p *pulses) decide(down oncall.Downtime) {
	list := p.list()
	external := labels.FromStrings("cluster", "shop-1")
	d := oncall.DecideHeartbeats(p.now, p.all, list, down, external)
	if again := oncall.DecideHeartbeats(p.now, p.all, list, down, external); !reflect.DeepEqual(d, again) {
		p.fail("deciding twice gave two decisions")
	}
	for _, st := range d.Put {
		p.states[st.Name] = st
	}
	for _, name := range d.Gone {
		delete(p.states, name)
	}
	for _, c := range d.Changes {
		key := c.Labels.String()
		if p.firing[key] == (c.Status == oncall.ChangeFiring) && c.Escalation == "ops" {
			p.fail("%s twice: %s", c.Status, key)
		}
		p.firing[key] = c.Status == oncall.ChangeFiring
		p.said = append(p.said, fmt.Sprintf("%s %s: %s", c.Status, c.Labels.Get("heartbeat"), c.Reason))
	}
	if more := oncall.DecideHeartbeats(p.now, p.all, p.list(), oncall.Downtime{}, external); !more.Empty() || !d.NextAt.Equal(more.NextAt) {
		p.fail("more follows: %+v", more)
	}
}

func (p *pulses) pass(d time.Duration) {
	p.now = p.now.Add(d)
	p.decide(oncall.Downtime{})
}

// restart passes time in which nobody hears anything.
func (p *pulses) restart(d time.Duration) {
	from := p.now
	p.now = p.now.Add(d)
	p.decide(oncall.Downtime{From: from, To: p.now})
}

func (p *pulses) last() string {
	if len(p.said) == 0 {
		return ""
	}
	return p.said[len(p.said)-1]
}

var backup = oncall.Heartbeat{Name: "backup", Every: 24 * time.Hour, Grace: time.Hour, Escalation: "ops", Labels: labels.FromStrings("severity", "critical")}

func TestHeartbeats(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(*pulses)
		want string // the last thing said; "" for nothing
	}{
		{"on time", func(p *pulses) { p.beat("backup"); p.pass(24 * time.Hour); p.beat("backup"); p.pass(24 * time.Hour) }, ""},
		{"late within the grace", func(p *pulses) { p.beat("backup"); p.pass(25*time.Hour - 1); p.beat("backup"); p.pass(time.Hour) }, ""},
		{"missed", func(p *pulses) { p.beat("backup"); p.pass(25 * time.Hour) },
			"firing backup: no beat for 25h (every 1d, grace 1h): the last one came at 2026-03-01 12:00:00 UTC"},
		{"never came", func(p *pulses) { p.pass(25 * time.Hour) },
			"firing backup: no beat for 25h (every 1d, grace 1h): none since it was configured at 2026-03-01 12:00:00 UTC"},
		{"came back", func(p *pulses) { p.pass(26 * time.Hour); p.beat("backup"); p.pass(time.Second) },
			"resolved backup: a beat came at 2026-03-02 14:00:00 UTC"},
		{"down over the end, at once back", func(p *pulses) { p.beat("backup"); p.pass(23 * time.Hour); p.restart(10 * time.Hour) }, ""},
		{"down over the end, and then the grace", func(p *pulses) {
			p.beat("backup")
			p.pass(23 * time.Hour)
			p.restart(10 * time.Hour)
			p.pass(time.Hour)
		},
			"firing backup: no beat for 34h (every 1d, grace 1h): the last one came at 2026-03-01 12:00:00 UTC; tocsin itself was down for 9h of it, so it waited that much longer, and a beat may have been lost"},
		{"down before it is due", func(p *pulses) { p.beat("backup"); p.pass(time.Hour); p.restart(22 * time.Hour); p.pass(2 * time.Hour) },
			"firing backup: no beat for 25h (every 1d, grace 1h): the last one came at 2026-03-01 12:00:00 UTC"},
		{"down again and again", func(p *pulses) {
			p.beat("backup")
			p.pass(24 * time.Hour)
			for range 6 {
				p.restart(time.Minute)
				p.pass(10 * time.Minute)
			}
		}, "firing backup: no beat for 25h6m (every 1d, grace 1h): the last one came at 2026-03-01 12:00:00 UTC; tocsin itself was down for 6m of it, so it waited that much longer, and a beat may have been lost"},
		{"what was excused is over with a beat", func(p *pulses) {
			p.beat("backup")
			p.pass(24 * time.Hour)
			p.restart(10 * time.Hour)
			p.beat("backup")
			p.pass(25 * time.Hour)
		}, "firing backup: no beat for 25h (every 1d, grace 1h): the last one came at 2026-03-02 22:00:00 UTC"},
		{"removed", func(p *pulses) { p.pass(25 * time.Hour); p.all = nil; p.pass(0) },
			"resolved backup: the heartbeat backup was removed from the configuration"},
		{"more often", func(p *pulses) { p.beat("backup"); p.pass(2 * time.Hour); p.all[0].Every = time.Hour; p.pass(0) },
			"firing backup: no beat for 2h (every 1h, grace 1h): the last one came at 2026-03-01 12:00:00 UTC"},
		{"less often", func(p *pulses) { p.pass(25 * time.Hour); p.all[0].Every = 48 * time.Hour; p.pass(0) },
			"resolved backup: it is not late any more, as the heartbeat is configured now"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPulses(t.Fatalf, backup)
			p.pass(0)
			c.run(p)
			if p.last() != c.want {
				t.Errorf("said %q\nwant %q", p.said, c.want)
			}
		})
	}
}

// TestHeartbeatEdited: an alert that fires under labels that are no longer its own ends, and goes on under the new ones.
func TestHeartbeatEdited(t *testing.T) {
	p := newPulses(t.Fatalf, backup)
	p.pass(0)
	p.pass(25 * time.Hour)
	p.all[0].Labels = labels.FromStrings("severity", "warning")
	p.pass(time.Hour)
	if len(p.said) != 3 || !strings.HasPrefix(p.said[1], "resolved backup: the labels") || !strings.HasPrefix(p.said[2], "firing backup") {
		t.Errorf("said %q", p.said)
	}
	if !p.firing[`{alertname="HeartbeatMissed", cluster="shop-1", heartbeat="backup", severity="warning"}`] {
		t.Errorf("firing %v", p.firing)
	}
	p.all[0].Escalation = "others" // those who are told must be others
	p.pass(time.Hour)
	if len(p.said) != 4 || !strings.HasPrefix(p.said[3], "firing backup") {
		t.Errorf("said %q", p.said)
	}
	v := oncall.ViewHeartbeat(p.all[0], p.states["backup"])
	if v.State != "missed" || !strings.HasPrefix(v.Reason, "no beat for") || v.Every != "1d" || v.Labels["severity"] != "warning" {
		t.Errorf("shown as %+v", v)
	}
}

// TestHeartbeatProperty holds random beats, restarts and edits to what a heartbeat is for.
func TestHeartbeatProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b"}
		hb := func(name string) oncall.Heartbeat {
			return oncall.Heartbeat{Name: name, Escalation: "ops", Every: time.Duration(rapid.IntRange(1, 50).Draw(t, "every")) * time.Minute,
				Grace: time.Duration(rapid.IntRange(0, 20).Draw(t, "grace")) * time.Minute}
		}
		p := newPulses(t.Fatalf, hb("a"), hb("b"))
		p.decide(oncall.Downtime{})
		up := map[string]time.Duration{} // heard since the last beat, or since it was configured
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			name := rapid.SampledFrom(names).Draw(t, "name")
			switch rapid.SampledFrom([]string{"beat", "pass", "pass", "restart", "remove", "add"}).Draw(t, "event") {
			case "beat":
				p.beat(name)
				up[name] = 0
			case "pass":
				d := time.Duration(rapid.IntRange(0, 40).Draw(t, "minutes")) * time.Minute
				for n := range names {
					up[names[n]] += d
				}
				p.pass(d)
			case "restart":
				p.restart(time.Duration(rapid.IntRange(0, 90).Draw(t, "minutes")) * time.Minute)
			case "remove":
				for i, h := range p.all {
					if h.Name == name {
						p.all = append(p.all[:i:i], p.all[i+1:]...)
						break
					}
				}
				p.pass(0)
				up[name] = 0
			case "add":
				if len(p.all) == 0 {
					p.all = append(p.all, hb(name))
					p.pass(0)
					up[name] = 0
				}
			}
			p.pass(0)
			for _, h := range p.all {
				st := p.states[h.Name]
				if missed := !st.MissedAt(h).After(p.now); missed != (st.Missed != nil) {
					t.Fatalf("%s is missed: %v, and its alert %v", h.Name, missed, st.Missed)
				}
				if up[h.Name] >= h.Every+h.Grace && st.Missed == nil {
					t.Fatalf("%s was listened for during %s without a beat, and nobody is told", h.Name, up[h.Name])
				}
				if st.Missed != nil && up[h.Name] < h.Grace {
					t.Fatalf("%s is missed although nobody listened for longer than %s", h.Name, up[h.Name])
				}
			}
			if len(p.states) > len(p.all) {
				t.Fatalf("records are left: %v", p.states)
			}
		}
	})
}
