package oncall

import (
	"regexp/syntax"
	"strings"
	"time"
	"unicode/utf8"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
)

// Silence mutes the alerts that all its matchers match, from StartsAt (included) until EndsAt (not
// included). One that starts in the future is a maintenance window.
type Silence struct {
	ID          string            `json:"id"` // a UUID
	Matchers    amlabels.Matchers `json:"matchers"`
	StartsAt    time.Time         `json:"starts_at"`
	EndsAt      time.Time         `json:"ends_at"`
	UpdatedAt   time.Time         `json:"updated_at"`
	CreatedBy   string            `json:"created_by"`
	Comment     string            `json:"comment"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Incident    int64             `json:"incident,omitempty"`   // the incident it was made from; 0: none
	RemindedAt  time.Time         `json:"reminded_at,omitzero"` // when people were reminded of its end
}

// SilenceState is where a silence stands.
type SilenceState string

// The states of a silence, as in the alert API.
const (
	SilencePending SilenceState = "pending"
	SilenceActive  SilenceState = "active"
	SilenceExpired SilenceState = "expired"
)

// State returns where the silence stands at now.
func (s Silence) State(now time.Time) SilenceState {
	switch {
	case now.Before(s.StartsAt):
		return SilencePending
	case now.Before(s.EndsAt):
		return SilenceActive
	}
	return SilenceExpired
}

// CheckSilence reports what is wrong with a silence that somebody wants to have, in the cases in which
// Alertmanager refuses it: the error's code is invalid. A zero StartsAt means now.
func CheckSilence(s Silence, mode MatcherMode, now time.Time) error {
	starts := s.StartsAt
	if starts.IsZero() {
		starts = now
	}
	switch {
	case s.EndsAt.IsZero():
		return Errorf(CodeInvalid, "endsAt: a silence needs an end")
	case !starts.Before(s.EndsAt):
		return Errorf(CodeInvalid, "endsAt: the start time must be before the end time (%s is not before %s)", shortTime(starts), shortTime(s.EndsAt))
	case s.EndsAt.Before(now):
		return Errorf(CodeInvalid, "endsAt: the end time can't be in the past (%s)", shortTime(s.EndsAt))
	case len(s.Matchers) == 0:
		return Errorf(CodeInvalid, "matchers: a silence needs at least one matcher")
	}
	allEmpty := true
	for i, m := range s.Matchers {
		if err := checkSilenceMatcher(m, mode); err != nil {
			return Errorf(CodeInvalid, "matchers: invalid label matcher %d: %w", i, err)
		}
		negative := m.Type == amlabels.MatchNotEqual || m.Type == amlabels.MatchNotRegexp
		allEmpty = allEmpty && !negative && m.Matches("")
	}
	if allEmpty {
		return Errorf(CodeInvalid, "matchers: at least one matcher must not match the empty string, or the silence matches alerts that lack the label")
	}
	return nil
}

func shortTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func checkSilenceMatcher(m *amlabels.Matcher, mode MatcherMode) error {
	if !mode.ValidLabelName(m.Name) {
		return Errorf(CodeInvalid, "invalid label name %q", m.Name)
	}
	switch m.Type {
	case amlabels.MatchEqual, amlabels.MatchNotEqual:
		if !utf8.ValidString(m.Value) {
			return Errorf(CodeInvalid, "invalid label value %q", m.Value)
		}
	default:
		// Without the anchors that a matcher puts around it: "a)|(b" only makes sense with them.
		if _, err := syntax.Parse(m.Value, syntax.Perl); err != nil {
			return Errorf(CodeInvalid, "invalid regular expression %q: %w", m.Value, err)
		}
	}
	return nil
}

// RequireComment refuses a silence without a comment or an author: what people make with tocsin's own
// tools says why and by whom. Alertmanager's API accepts both empty.
func RequireComment(s Silence) error {
	switch {
	case strings.TrimSpace(s.Comment) == "":
		return Errorf(CodeInvalid, "a silence needs a comment: say why, for those who wonder why no page came")
	case strings.TrimSpace(s.CreatedBy) == "":
		return Errorf(CodeInvalid, "a silence needs an author")
	}
	return nil
}

// SetSilence decides what becomes of a silence that somebody wants to have (s, checked with CheckSilence). Without an ID it
// is new, and gets newID. With one, prev is what has that ID (found): it is changed in place where that does not alter
// what was muted in the past; otherwise prev ends now and s begins under newID. It returns what changes, s last.
func SetSilence(prev Silence, found bool, s Silence, newID string, now time.Time) ([]Silence, error) {
	if s.StartsAt.IsZero() {
		s.StartsAt = now
	}
	s.UpdatedAt, s.RemindedAt = now, time.Time{}
	if s.ID == "" {
		found = false
	} else if !found {
		return nil, SilenceNotFound(s.ID)
	}
	if found {
		if s.Incident == 0 {
			s.Incident = prev.Incident
		}
		if changesInPlace(prev, s, now) {
			if s.EndsAt.Equal(prev.EndsAt) {
				s.RemindedAt = prev.RemindedAt
			}
			return []Silence{s}, nil
		}
	}
	s.ID = newID
	if s.StartsAt.Before(now) {
		s.StartsAt = now
	}
	if !found {
		return []Silence{s}, nil
	}
	return append(ExpireSilence(prev, now), s), nil
}

// SilenceNotFound is the error of an ID that no silence has. Code: not_found.
func SilenceNotFound(id string) error { return Errorf(CodeNotFound, "silence %s not found", id) }

// changesInPlace reports whether prev can become s without a lie about the past.
func changesInPlace(prev, s Silence, now time.Time) bool {
	if !SameMatchers(prev.Matchers, s.Matchers) {
		return false
	}
	switch prev.State(now) {
	case SilenceActive: // clients may cut fractions of a second off
		return prev.StartsAt.Unix() == s.StartsAt.Unix() && !s.EndsAt.Before(now)
	case SilencePending:
		return !s.StartsAt.Before(now)
	}
	return false
}

// ExpireSilence ends a silence now, and returns it; nothing for one that has ended: ending it again is no error.
func ExpireSilence(s Silence, now time.Time) []Silence {
	switch s.State(now) {
	case SilenceExpired:
		return nil
	case SilencePending:
		s.StartsAt = now
	}
	s.EndsAt, s.UpdatedAt = now, now
	return []Silence{s}
}
