package slack

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"

	"tocsin/notifier"
	"tocsin/oncall"
)

// Silences are what is muted beside incidents. The package notifier implements it.
type Silences interface {
	// List returns all silences that are kept, in the order of the alert API.
	List(now time.Time) []oncall.Silence
	// SetOnce makes a silence once for each request; one seen before is oncall.ErrRequestSeen.
	SetOnce(ctx context.Context, s oncall.Silence, request string) (id string, warnings []string, err error)
	// Expire ends a silence now; one that has ended is no error.
	Expire(ctx context.Context, id string) (oncall.Silence, error)
}

// newest is how many incidents a list of ended ones too looks at.
const newest = 200

// list answers which incidents there are.
func (a *Adapter) list(ctx context.Context, t typed, who person) (string, error) {
	var found []oncall.Incident
	var err error
	looked := "open"
	switch {
	case len(t.states) == 0 && !t.all:
		found, err = a.incidents(ctx, oncall.IncidentTriggered, oncall.IncidentAcknowledged, oncall.IncidentSnoozed)
	case slices.Contains(t.states, oncall.IncidentResolved) || len(t.states) == 0:
		found, err = a.acts.Incidents(ctx, oncall.IncidentFilter{States: t.states, Limit: newest})
		looked = ""
	default:
		found, err = a.incidents(ctx, t.states...)
	}
	if err != nil {
		return a.settle(err)
	}
	cut := looked == "" && len(found) == newest
	found = slices.DeleteFunc(found, func(in oncall.Incident) bool {
		return t.mine && !has(in, who) && !concerns(in, who, "") || !matches(in, t.match)
	})
	if len(t.states) > 0 {
		names := make([]string, len(t.states))
		for i, s := range t.states {
			names[i] = string(s)
		}
		looked = strings.Join(names, " or ")
	}
	return a.counted(found, looked, t, cut), nil
}

// counted heads a list of incidents.
func (a *Adapter) counted(found []oncall.Incident, looked string, t typed, cut bool) string {
	what := ""
	if len(t.match) > 0 {
		what = " with " + code(t.match.String(), 200)
	}
	if t.mine {
		what += " for you"
	}
	among := ""
	if cut {
		among = fmt.Sprintf(" among the newest %d", newest)
	}
	verb := map[bool]string{true: "is", false: "are"}[len(found) == 1]
	switch {
	case len(found) == 0 && looked != "":
		return fmt.Sprintf("No incident%s is %s%s.", what, looked, among)
	case len(found) == 0:
		return fmt.Sprintf("There is no incident%s%s.", what, among)
	case looked == "":
		return fmt.Sprintf("There %s %s%s%s:\n%s", verb, plural(len(found), "incident"), what, among, a.lines(found))
	}
	return fmt.Sprintf("%s%s %s %s%s:\n%s", plural(len(found), "incident"), what, verb, looked, among, a.lines(found))
}

// has reports whether somebody has an incident, or had it when it ended.
func has(in oncall.Incident, who person) bool {
	return who.user != "" && (in.AcknowledgedBy == who.user || in.Assignee == who.user ||
		slices.ContainsFunc(in.Responders, func(r oncall.Responder) bool { return r.User == who.user }))
}

// matches reports whether one of an incident's alerts has all the labels.
func matches(in oncall.Incident, ms amlabels.Matchers) bool {
	if len(ms) == 0 {
		return true
	}
	return slices.ContainsFunc(in.Alerts, func(al oncall.IncidentAlert) bool {
		return !slices.ContainsFunc(ms, func(m *amlabels.Matcher) bool { return !m.Matches(al.Labels.Get(m.Name)) })
	})
}

// lines lists incidents, as many as an answer takes.
func (a *Adapter) lines(ins []oncall.Incident) string {
	now := time.Now()
	var b strings.Builder
	for i, in := range ins {
		l := "• " + a.line(in, now) + "\n"
		if b.Len()+len(l) > maxAnswerText-300 {
			fmt.Fprintf(&b, "… and %d more", len(ins)-i)
			break
		}
		b.WriteString(l)
	}
	return strings.TrimRight(b.String(), "\n")
}

// line is one incident on one line.
func (a *Adapter) line(in oncall.Incident, now time.Time) string {
	emoji, word := standing(in)
	s := fmt.Sprintf("%s *#%d* %s", emoji, in.Number, strings.ToLower(word))
	switch in.State {
	case oncall.IncidentSnoozed:
		s += " until " + moment(in.SnoozedUntil, now)
	case oncall.IncidentAcknowledged:
		s += " by " + actor(in.AcknowledgedBy)
	case oncall.IncidentResolved:
		if in.ResolvedBy != "" {
			s += " by " + actor(in.ResolvedBy)
		}
	}
	if in.Severity != "" {
		s += " · " + prose(in.Severity, 40)
	}
	return s + " · " + prose(in.Title, 150) + " · since " + moment(in.TriggeredAt, now)
}

// incidents reads all incidents in the given states: counts are exact.
func (a *Adapter) incidents(ctx context.Context, states ...oncall.IncidentState) ([]oncall.Incident, error) {
	const page = 500
	var all []oncall.Incident
	f := oncall.IncidentFilter{States: states, Limit: page}
	for {
		got, err := a.acts.Incidents(ctx, f)
		if err != nil {
			return nil, err
		}
		all = append(all, got...)
		if len(got) < page {
			return all, nil
		}
		f.Before = got[len(got)-1].Number
	}
}

// listSilences answers what is silenced now or will be.
func (a *Adapter) listSilences(now time.Time) string {
	if a.silences == nil {
		return "Silences are not to be seen here."
	}
	all := slices.DeleteFunc(slices.Clone(a.silences.List(now)), func(s oncall.Silence) bool { return s.State(now) == oncall.SilenceExpired })
	if len(all) == 0 {
		return "Nothing is silenced."
	}
	slices.SortStableFunc(all, func(x, y oncall.Silence) int { return x.EndsAt.Compare(y.EndsAt) })
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s ends one:\n", plural(len(all), "silence"), code(a.cfg.Command+" unsilence id", 60))
	for i, s := range all {
		l := "• " + silenceLine(s, now) + "\n"
		if b.Len()+len(l) > maxAnswerText-300 {
			fmt.Fprintf(&b, "… and %d more", len(all)-i)
			break
		}
		b.WriteString(l)
	}
	return strings.TrimRight(b.String(), "\n")
}

// shortID is what of an ID is enough to name a silence.
func shortID(id string) string { return id[:min(8, len(id))] }

func silenceLine(s oncall.Silence, now time.Time) string {
	line := code(shortID(s.ID), 8) + " until " + moment(s.EndsAt, now)
	if s.State(now) == oncall.SilencePending {
		line = code(shortID(s.ID), 8) + " from " + moment(s.StartsAt, now) + " until " + moment(s.EndsAt, now)
	}
	line += " · " + code(s.Matchers.String(), 200) + " · " + actor(s.CreatedBy)
	if s.Comment != "" {
		line += ": " + prose(s.Comment, 150)
	}
	if s.Incident != 0 {
		line += fmt.Sprintf(" (#%d)", s.Incident)
	}
	return line
}

// unsilence ends the one silence whose ID begins so. Doing it again changes nothing.
func (a *Adapter) unsilence(ctx context.Context, id string, who person, request string) (string, error) {
	if a.silences == nil {
		return "Nothing was changed: silences cannot be ended here.", nil
	}
	now := time.Now()
	var found []oncall.Silence
	for _, s := range a.silences.List(now) {
		if strings.HasPrefix(s.ID, strings.ToLower(id)) && s.State(now) != oncall.SilenceExpired {
			found = append(found, s)
		}
	}
	switch {
	case len(found) == 0:
		return "Nothing was changed: no silence that is in force begins with " + code(id, 60) + ". " + code(a.cfg.Command+" silences", 60) + " lists them.", nil
	case len(found) > 1:
		return fmt.Sprintf("Nothing was changed: %s begin with %s. Write more of the ID.", plural(len(found), "silence"), code(id, 60)), nil
	}
	s, err := a.silences.Expire(ctx, found[0].ID)
	if err != nil {
		return a.settle(err)
	}
	a.log.Info("A silence was ended from Slack", "silence", s.ID, "actor", who.name)
	if s.Incident != 0 { // who ended it belongs on the timeline of the incident that it was made from
		note := oncall.Command{Kind: oncall.CmdNote, Actor: who.name, Via: "slack", Text: "ended the silence of " + s.Matchers.String()}
		if _, _, err := a.commit(ctx, s.Incident, note, request); err != nil && oncall.ErrorCode(err) != oncall.CodeNotFound {
			a.log.Error("The end of a silence is not on its incident's timeline", "incident", s.Incident, "silence", s.ID, "err", a.redact(err.Error()))
		}
	}
	return "Ended: " + silenceLine(s, now), nil
}

// silence silences the alerts of an incident.
func (a *Adapter) silence(ctx context.Context, number int64, t typed, who person, request string) (string, error) {
	done, err := a.acts.Silence(ctx, number, oncall.SilenceWish{For: t.length.length, Until: t.length.until, Comment: t.text, Actor: who.name, Via: "slack"}, request)
	switch {
	case err != nil:
		return a.settle(err)
	case done.Reply == notifier.AlreadyDone:
		return a.present(ctx, number)
	}
	return prose(done.Reply, 1500) + ".", nil
}

// silenceMatching silences what matches, whatever incident it leads to.
func (a *Adapter) silenceMatching(ctx context.Context, t typed, who person, request string, now time.Time) (string, error) {
	if a.silences == nil {
		return "Nothing was changed: silences cannot be set here.", nil
	}
	s := oncall.Silence{Matchers: t.match, StartsAt: now, EndsAt: t.length.end(now), CreatedBy: who.name, Comment: t.text}
	id, warnings, err := a.silences.SetOnce(ctx, s, request)
	if err != nil {
		return a.settle(err)
	}
	answer := fmt.Sprintf("Silenced until %s: all alerts with %s.", moment(s.EndsAt, now), code(s.Matchers.String(), 1000))
	if len(warnings) > 0 {
		answer += " ⚠️ Mind: " + prose(strings.Join(warnings, "; "), 500) + "."
	}
	return answer + " To take it back: " + code(a.cfg.Command+" unsilence "+shortID(id), 80), nil
}
