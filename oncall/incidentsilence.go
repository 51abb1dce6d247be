package oncall

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// MaxSilence is the longest silence that is made from an incident: what is muted for longer has a rule that
// should not fire.
const MaxSilence = 30 * 24 * time.Hour

const maxSilenceComment = 2000 // characters

// SilenceWish is what a person asked for from an incident.
type SilenceWish struct {
	For     time.Duration // from now on; either this or Until
	Until   time.Time
	Comment string
	Actor   string // a configured user's name where there is one
	Via     string // "slack", "api", "console"
}

// SilenceOf makes the silence that a wish asks for, of the alerts of an incident: of what made them one, else of
// what they share. It never matches everything. Code: invalid.
func SilenceOf(in Incident, w SilenceWish, now time.Time) (Silence, error) {
	s := Silence{StartsAt: now, EndsAt: w.Until, CreatedBy: w.Actor, Comment: strings.TrimSpace(w.Comment), Incident: in.Number}
	if w.For > 0 {
		s.EndsAt = now.Add(w.For)
	}
	switch {
	case s.Comment == "":
		return s, Errorf(CodeInvalid, "a silence needs a comment: say why, for those who wonder why no page came")
	case utf8.RuneCountInString(s.Comment) > maxSilenceComment:
		return s, Errorf(CodeInvalid, "the comment is too long: at most %d characters", maxSilenceComment)
	case w.For > 0 && !w.Until.IsZero():
		return s, Errorf(CodeInvalid, "give how long the silence lasts or until when, not both")
	case s.EndsAt.IsZero():
		return s, Errorf(CodeInvalid, "for how long? Write 30m, 2h or 1d")
	case !s.EndsAt.After(now):
		return s, Errorf(CodeInvalid, "the end of a silence must be in the future")
	case s.EndsAt.Sub(now) > MaxSilence:
		return s, Errorf(CodeInvalid, "a silence from an incident lasts 30 days at most. Mute hours that come back by time_intervals "+
			"in the configuration, and change a rule that should not fire")
	}
	if in.GroupLabels.Get(model.AlertNameLabel) == ManualAlert && in.GroupLabels.Get(OpeningLabel) != "" {
		return s, Errorf(CodeInvalid, "#%d was opened by hand, so there is no alert to silence: snooze it, or resolve it", in.Number)
	}
	var err error
	s.Matchers, err = incidentMatchers(in)
	return s, err
}

func incidentMatchers(in Incident) (amlabels.Matchers, error) {
	if !in.GroupLabels.IsEmpty() {
		return equalTo(in.GroupLabels), nil
	}
	var alerts []IncidentAlert
	for _, a := range in.Alerts {
		if a.State == StateFiring {
			alerts = append(alerts, a)
		}
	}
	if len(alerts) == 0 {
		alerts = in.Alerts
	}
	shared := commonLabels(alerts)
	ms := equalTo(shared)
	if shared.Get(model.AlertNameLabel) == "" {
		if m := oneOfNames(alerts); m != nil {
			ms = append(amlabels.Matchers{m}, ms...)
		}
	}
	if len(ms) == 0 {
		return nil, Errorf(CodeInvalid, "the alerts of #%d share no label that a silence could name; silence them one by one", in.Number)
	}
	return ms, nil
}

func equalTo(ls labels.Labels) amlabels.Matchers {
	var ms amlabels.Matchers
	ls.Range(func(l labels.Label) {
		if l.Value != "" { // an empty one would match every alert that lacks the label
			ms = append(ms, &amlabels.Matcher{Type: amlabels.MatchEqual, Name: l.Name, Value: l.Value})
		}
	})
	return ms
}

// oneOfNames matches the names of the alerts; nil where one of them has none.
func oneOfNames(alerts []IncidentAlert) *amlabels.Matcher {
	var names []string
	for _, a := range alerts {
		name := a.Labels.Get(model.AlertNameLabel)
		if name == "" {
			return nil
		}
		if name = regexp.QuoteMeta(name); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	m, err := amlabels.NewMatcher(amlabels.MatchRegexp, model.AlertNameLabel, strings.Join(names, "|"))
	if err != nil {
		return nil // quoted names always compile, as long as they are text
	}
	return m
}

// SilencedNote is what the incident's record says of a silence made from it.
func SilencedNote(s Silence, way string) Noted {
	until := s.EndsAt.UTC().Format("2006-01-02 15:04 MST")
	return Noted{
		Kind: EntrySilenced, Actor: s.CreatedBy,
		Text:  fmt.Sprintf("silenced until %s%s: %s (all alerts with %s)", until, via(way), s.Comment, s.Matchers),
		Reply: fmt.Sprintf("Silenced by %s until %s: %s", s.CreatedBy, until, s.Comment),
	}
}
