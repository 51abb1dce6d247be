package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	oaerrors "github.com/go-openapi/errors"
	"github.com/go-openapi/strfmt"
	"github.com/prometheus/alertmanager/api/v2/models"
	amlabels "github.com/prometheus/alertmanager/pkg/labels"

	"tocsin/oncall"
)

// maxSilence bounds the body of a silence, in bytes: ten thousand matchers and more.
const maxSilence = 4 << 20

func (w *Web) amSilences(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	matchers, err := w.amMatchers(q["filter"])
	if err != nil {
		w.amBadRequest(rw, err.Error())
		return
	}
	if err := w.o.Alertmanager.Silences.Refresh(r.Context()); err != nil {
		w.amFail(rw, r, err)
		return
	}
	wanted := map[oncall.SilenceState]bool{oncall.SilenceActive: flag(q, "active"), oncall.SilencePending: flag(q, "pending"), oncall.SilenceExpired: flag(q, "expired")}
	at := now()
	list := models.GettableSilences{}
	for _, s := range w.o.Alertmanager.Silences.List(at) {
		if wanted[s.State(at)] && hasMatchers(s, matchers) {
			list = append(list, gettable(s, at))
		}
	}
	w.amJSON(rw, http.StatusOK, list)
}

// hasMatchers reports whether the silence has each of these matchers itself: a filter of silences is not about
// the alerts that they match.
func hasMatchers(s oncall.Silence, wanted []*amlabels.Matcher) bool {
	for _, m := range wanted {
		found := false
		for _, own := range s.Matchers {
			found = found || own.Type == m.Type && own.Name == m.Name && own.Value == m.Value
		}
		if !found {
			return false
		}
	}
	return true
}

// gettable is a silence as the API shows it.
func gettable(s oncall.Silence, at time.Time) *models.GettableSilence {
	state := string(s.State(at))
	starts, ends, updated := strfmt.DateTime(s.StartsAt.UTC()), strfmt.DateTime(s.EndsAt.UTC()), strfmt.DateTime(s.UpdatedAt.UTC())
	g := &models.GettableSilence{ID: &s.ID, UpdatedAt: &updated, Status: &models.SilenceStatus{State: &state},
		Silence: models.Silence{StartsAt: &starts, EndsAt: &ends, Comment: &s.Comment, CreatedBy: &s.CreatedBy, Annotations: s.Annotations, Matchers: models.Matchers{}}}
	for _, m := range s.Matchers {
		equal := m.Type == amlabels.MatchEqual || m.Type == amlabels.MatchRegexp
		regex := m.Type == amlabels.MatchRegexp || m.Type == amlabels.MatchNotRegexp
		g.Matchers = append(g.Matchers, &models.Matcher{Name: &m.Name, Value: &m.Value, IsEqual: &equal, IsRegex: &regex})
	}
	return g
}

// silenceID reads the path, and takes over what is new in the store; or answers.
func (w *Web) silenceID(rw http.ResponseWriter, r *http.Request) (id string, ok bool) {
	id = r.PathValue("id")
	if !strfmt.IsUUID(id) {
		w.amRefuse(rw, http.StatusUnprocessableEntity, codeFormat, fmt.Sprintf("silenceID in path must be of type uuid: %q", id))
		return "", false
	}
	if err := w.o.Alertmanager.Silences.Refresh(r.Context()); err != nil {
		w.amFail(rw, r, err)
		return "", false
	}
	return id, true
}

func (w *Web) amSilence(rw http.ResponseWriter, r *http.Request) {
	id, ok := w.silenceID(rw, r)
	if !ok {
		return
	}
	s, err := w.o.Alertmanager.Silences.Get(id)
	if err != nil {
		w.failSilence(rw, r, err)
		return
	}
	w.amJSON(rw, http.StatusOK, gettable(s, now()))
}

func (w *Web) amExpireSilence(rw http.ResponseWriter, r *http.Request) {
	id, ok := w.silenceID(rw, r)
	if !ok {
		return
	}
	if _, err := w.o.Alertmanager.Silences.Expire(r.Context(), id); err != nil {
		w.failSilence(rw, r, err)
		return
	}
	rw.WriteHeader(http.StatusOK)
}

// failSilence answers 404 without a body, as Alertmanager does.
func (w *Web) failSilence(rw http.ResponseWriter, r *http.Request, err error) {
	if oncall.ErrorCode(err) == oncall.CodeNotFound {
		rw.WriteHeader(http.StatusNotFound)
		return
	}
	w.amFail(rw, r, err)
}

func (w *Web) amPostSilence(rw http.ResponseWriter, r *http.Request) {
	if !w.jsonBody(rw, r, "silence") {
		return
	}
	var p models.PostableSilence
	dec := json.NewDecoder(http.MaxBytesReader(rw, r.Body, maxSilence))
	dec.UseNumber()
	if err := dec.Decode(&p); err != nil {
		w.refuseSilence(rw, err)
		return
	}
	if err := p.Validate(strfmt.Default); err != nil {
		code, message := firstError(err)
		w.amRefuse(rw, http.StatusUnprocessableEntity, code, message)
		return
	}
	s, err := silenceOf(&p)
	if err != nil {
		w.amFail(rw, r, err)
		return
	}
	id, warnings, err := w.o.Alertmanager.Silences.Set(r.Context(), s)
	if err != nil {
		w.amFail(rw, r, err)
		return
	}
	for _, warning := range warnings {
		w.o.Logger.Warn("A silence was set that may mute more than was meant", "silence", id, "created_by", s.CreatedBy, "warning", warning)
		rw.Header().Add("X-Tocsin-Warning", headerText(warning))
	}
	w.amJSON(rw, http.StatusOK, struct {
		SilenceID string `json:"silenceID,omitempty"`
	}{id})
}

// refuseSilence says why a body is no silence.
func (w *Web) refuseSilence(rw http.ResponseWriter, err error) {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		w.amRefuse(rw, http.StatusRequestEntityTooLarge, http.StatusRequestEntityTooLarge,
			fmt.Sprintf("silence in body: larger than %d bytes", tooLarge.Limit))
		return
	}
	if errors.Is(err, io.EOF) {
		w.amRefuse(rw, http.StatusUnprocessableEntity, codeRequired, "silence in body is required")
		return
	}
	w.amRefuse(rw, http.StatusBadRequest, codeNotParsed, fmt.Sprintf("parsing silence body failed, because %s", err))
}

// firstError is the one of several that Alertmanager's runtime shows.
func firstError(err error) (code int, message string) {
	if all, ok := errors.AsType[*oaerrors.CompositeError](err); ok && len(all.Errors) > 0 {
		return firstError(all.Errors[0])
	}
	if e, ok := errors.AsType[oaerrors.Error](err); ok {
		return int(e.Code()), e.Error()
	}
	return http.StatusUnprocessableEntity, err.Error()
}

// silenceOf makes a silence of what was posted and validated.
func silenceOf(p *models.PostableSilence) (oncall.Silence, error) {
	s := oncall.Silence{ID: p.ID, StartsAt: time.Time(*p.StartsAt), EndsAt: time.Time(*p.EndsAt),
		Comment: *p.Comment, CreatedBy: *p.CreatedBy, Annotations: p.Annotations}
	for i, pm := range p.Matchers {
		if pm == nil {
			return s, oncall.Errorf(oncall.CodeInvalid, "matchers.%d is null", i)
		}
		kind := amlabels.MatchEqual
		switch equal, regex := pm.IsEqual == nil || *pm.IsEqual, pm.IsRegex != nil && *pm.IsRegex; {
		case equal && regex:
			kind = amlabels.MatchRegexp
		case !equal && regex:
			kind = amlabels.MatchNotRegexp
		case !equal:
			kind = amlabels.MatchNotEqual
		}
		m, err := amlabels.NewMatcher(kind, *pm.Name, *pm.Value)
		if err != nil {
			return s, oncall.Errorf(oncall.CodeInvalid, "matchers.%d: invalid regular expression of %q: %w", i, *pm.Name, err)
		}
		s.Matchers = append(s.Matchers, m)
	}
	return s, nil
}

// headerText is a text that fits into a header.
func headerText(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = ' '
		}
	}
	return string(b)
}
