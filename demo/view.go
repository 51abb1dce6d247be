package demo

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// view puts together what the page shows at a real instant.
func (w *World) view(real time.Time) view {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.now
	now := r.clock.story(real)
	over := now.After(storyEnd)
	if over {
		now = storyEnd
	}
	v := view{
		Speed: strconv.FormatFloat(r.clock.speed, 'f', -1, 64), Minute: plainSeconds(shrink(time.Minute, r.clock.speed)),
		Clock: hhmm(now), Narrator: r.narrate(now, w.tocsin != ""), Panes: w.panes(r), Phones: w.phoneViews(r, now),
		Charts: []chart{r.draw("wide", 760, 380, now), r.draw("narrow", 360, 330, now)}, Rows: r.rows(now), Summary: r.summary(),
		Sleeps: r.sleeps, Patched: !r.patched.IsZero(), Ready: w.tocsin != "", TocsinURL: w.tocsin, Rules: ruleViews(r.clock.speed),
		Database: fmt.Sprintf("%.0f ms", r.service.databaseLatency()*1000),
	}
	done := float64(now.Sub(outageStart)) / float64(outageEnd.Sub(outageStart))
	v.Progress = int(1000 * min(max(done, 0), 1))
	switch {
	case now.Before(outageStart):
		v.Phase = fmt.Sprintf("%d min before the alarm of 2024", minutesUp(outageStart.Sub(now)))
	case now.Before(outageEnd):
		v.Phase = fmt.Sprintf("minute %d of the 105 of 2024", int(now.Sub(outageStart).Minutes())+1)
	case over:
		v.Phase = "the story is over"
	default:
		v.Phase = "2024 is over, too"
	}
	return v
}

func minutesUp(d time.Duration) int { return int((d + time.Minute - 1) / time.Minute) }

// ruleViews tell how the durations of the rule file run.
func ruleViews(speed float64) []ruleView {
	var out []ruleView
	for _, x := range []struct {
		what string
		d    time.Duration
		text string
	}{
		{"alert after", 2 * time.Minute, "for: 2m"},
		{"page ana after", 5 * time.Minute, "after: 5m"},
		{"page bo after", 10 * time.Minute, "after: 10m"},
	} {
		out = append(out, ruleView{x.what, x.text, plainSeconds(shrink(x.d, speed))})
	}
	return out
}

// rows merges the postmortem's moments with those of this run, by the minute.
func (r *run) rows(now time.Time) []row {
	by := map[string]*row{}
	get := func(t time.Time) *row {
		k := hhmm(t)
		if by[k] == nil {
			by[k] = &row{Time: k}
		}
		return by[k]
	}
	for _, p := range whatHappened {
		x := get(p.at)
		x.Then, x.Ahead = p.text, p.at.After(now)
	}
	for _, m := range r.moments() {
		x := get(m.at)
		x.Now = append(x.Now, m)
	}
	out := make([]row, 0, len(by))
	for _, x := range by {
		out = append(out, *x)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Time < out[j].Time })
	return out
}

// phoneViews draws the phones, newest call first.
func (w *World) phoneViews(r *run, now time.Time) []phoneView {
	calls := w.phones.since(r.from)
	var out []phoneView
	for _, p := range people {
		v := phoneView{Name: p.name, Role: p.role, Clock: hhmm(now)}
		for i := len(calls) - 1; i >= 0; i-- {
			if c := calls[i]; c.user == p.name {
				v.Calls = append(v.Calls, drawCall(r, c, laterState(calls[i+1:], c)))
			}
		}
		out = append(out, v)
	}
	return out
}

// laterState is what the same phone was told of the same incident after a call.
func laterState(later []call, c call) string {
	state := ""
	for _, l := range later {
		if l.user == c.user && l.payload.Data.Number == c.payload.Data.Number && !l.asks() {
			state = strings.TrimPrefix(l.payload.Type, "incident.")
		}
	}
	return state
}

func drawCall(r *run, c call, later string) callView {
	d := c.payload.Data
	v := callView{ID: c.id, Time: hhmm(r.clock.story(c.at)), Title: d.Title, Asks: c.asks(), State: strings.TrimPrefix(c.payload.Type, "incident.")}
	if s := c.summary(); s != d.Title {
		v.Text = s
	}
	switch {
	case c.asks() && later == "":
		v.State, v.Link = "needs you", d.Page.AckURL
	case c.asks():
		v.State = later
	case v.State == "acknowledged" && d.AcknowledgedBy != "":
		v.Title = title(d.AcknowledgedBy) + " has it"
		v.Text = "Nobody else is paged."
	case v.State == "updated":
		v.Text = "Something new about this incident."
	case v.State == "resolved":
		v.Title, v.Text = "Over", d.Title
	}
	v.Title = fmt.Sprintf("#%d %s", d.Number, v.Title)
	return v
}

// narrate is the one sentence that says what is going on.
func (r *run) narrate(now time.Time, ready bool) string {
	in := r.seen.main()
	switch {
	case !ready:
		return "tocsin is starting. The session service already leaks."
	case in == nil && len(r.seen.incidents) == 0:
		return "All looks well. Expired sessions are not cleared, and memory climbs a little every minute. In 2024 nobody was told."
	case in == nil:
		return "tocsin has warned the team in Slack: at this pace the memory runs out. It is early, so nobody is woken."
	case !in.ResolvedAt.IsZero():
		return r.narrateEnd(now, in)
	case !in.AcknowledgedAt.IsZero():
		return r.narrateWork(in)
	}
	switch {
	case len(r.crashes) > 0:
		return "The session service has crashed, and nobody has answered. Press Acknowledge, then restart the session service."
	case !r.seen.told("bo", in.TriggeredAt).IsZero():
		return "Nobody has answered, so bo is paged as well. Escalation needs no hand; in 2024 it took until 13:45."
	case !r.seen.told("ana", in.TriggeredAt).IsZero():
		return "Ana is paged by name, in Slack and on her phone. Press Acknowledge as ana, or let her sleep and see who is next."
	}
	return "Memory stayed above 80 % for two minutes. The channel knows at once: which service, its limit, and when it is reached. Ana is next."
}

func (r *run) narrateWork(in *incident) string {
	who := title(in.AcknowledgedBy)
	if r.restart.After(r.clock.story(in.TriggeredAt)) {
		return "The session service was restarted. Memory falls, checkouts recover; the rules will say when it is over."
	}
	if r.sleeps {
		return who + " has it, and the paging has stopped. Now restart the session service, with the button below the chart."
	}
	return who + " has it, and the paging has stopped. The incident names the session service; the database rules are quiet, so nobody looks there."
}

func (r *run) narrateEnd(now time.Time, in *incident) string {
	took := int(r.clock.story(in.ResolvedAt).Sub(r.clock.story(in.TriggeredAt)).Round(time.Minute).Minutes())
	if now.Before(outageEnd) {
		return fmt.Sprintf("Over after %d minutes, confirmed by the rules. The outage of 2024 has %d minutes to go.", took, minutesUp(outageEnd.Sub(now)))
	}
	return fmt.Sprintf("%d minutes instead of 105. The timeline of the incident is already the postmortem’s first draft.", took)
}
