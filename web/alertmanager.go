package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-openapi/strfmt"
	"github.com/prometheus/alertmanager/api/v2/models"
	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/version"

	"tocsin/notifier"
	"tocsin/oncall"
)

// amBase is where Alertmanager's API lives, below the route prefix.
const amBase = "/api/v2"

// Silences is the way in for silences: *notifier.Silences. All methods may be called from many goroutines.
type Silences interface {
	// Refresh takes over what other processes changed.
	Refresh(ctx context.Context) error
	// List returns all silences in the order of the alert API.
	List(now time.Time) []oncall.Silence
	// Get returns one silence, or not_found.
	Get(id string) (oncall.Silence, error)
	// Set makes a silence or changes the one with its ID. It returns the ID under which it stands from now on,
	// and what the caller should be warned of.
	Set(ctx context.Context, s oncall.Silence) (id string, warnings []string, err error)
	// Expire ends a silence now.
	Expire(ctx context.Context, id string) (oncall.Silence, error)
}

// AlertStore takes in what is posted, and knows what was sent.
type AlertStore interface {
	notifier.ReceiveStore
	// GroupDeliveries lists notifications of groups, newest first, without their alerts.
	GroupDeliveries(ctx context.Context, f oncall.GroupDeliveryFilter) ([]oncall.GroupDelivery, error)
}

// Alertmanager is what stands behind Alertmanager's API. The functions are called for each request and must be
// safe for concurrent use.
type Alertmanager struct {
	Dispatch  notifier.DispatchView
	Store     AlertStore
	Silences  Silences
	Mode      oncall.MatcherMode
	Receivers func() []oncall.Receiver // in the configuration's order; nil: those of the policy, by name
	Original  func() string            // the configuration with its defaults, without secrets
	Peers     func() []Peer            // at least this process; nil: none
	// RouteLabels returns the labels of a group's route with their templates filled in; nil leaves them as written.
	RouteLabels func(notifier.GroupView) map[string]string
}

// Peer is a process that works on the same store.
type Peer struct {
	Name    string
	Address string // host:port
}

func (w *Web) alertmanagerRoutes() []route {
	if w.o.Alertmanager == nil {
		return nil
	}
	var routes []route
	for _, r := range []route{
		{"GET", "/status", w.amStatus},
		{"GET", "/receivers", w.amReceivers},
		{"GET", "/alerts", w.amAlerts},
		{"POST", "/alerts", w.amPostAlerts},
		{"GET", "/alerts/groups", w.amGroups},
		{"GET", "/silences", w.amSilences},
		{"POST", "/silences", w.amPostSilence},
		{"GET", "/silence/{id}", w.amSilence},
		{"DELETE", "/silence/{id}", w.amExpireSilence},
	} {
		answer := w.amHandler(r.handler)
		routes = append(routes, route{r.method, amBase + r.path, answer}, route{r.method, amBase + r.path + "/{$}", answer})
	}
	return routes
}

// amHandler is what all answers of Alertmanager's API have in common.
func (w *Web) amHandler(h http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Cache-Control", "no-store")
		if r.ContentLength == 0 && !takesJSON(r.Header) { // whoever sends a body is not asked, as there
			w.amRefuse(rw, http.StatusNotAcceptable, http.StatusNotAcceptable, "unsupported media type requested, only [application/json] are available")
			return
		}
		h(rw, r)
	}
}

// takesJSON reports whether the caller accepts the one form that there is.
func takesJSON(h http.Header) bool {
	accept := h.Values("Accept")
	for _, part := range accept {
		for one := range strings.SplitSeq(part, ",") {
			kind, q, _ := strings.Cut(one, ";")
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "application/json", "application/*", "*/*":
				if strings.TrimSpace(q) != "q=0" {
					return true
				}
			}
		}
	}
	return len(accept) == 0
}

// belowAlertmanager reports whether a failure of this request is told as Alertmanager's runtime tells it.
func (w *Web) belowAlertmanager(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, strings.TrimSuffix(w.o.RoutePrefix, "/")+amBase+"/")
}

// amRefuse answers in the form of Alertmanager's runtime. code is the HTTP status or, from 600, more exact.
func (w *Web) amRefuse(rw http.ResponseWriter, status, code int, message string) {
	w.amJSON(rw, status, struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{code, message})
}

// amFail answers with an error of the core: in the form of Alertmanager's handlers, a string, where its clients
// expect that, and nothing at all for what is not there.
func (w *Web) amFail(rw http.ResponseWriter, r *http.Request, err error) {
	message := "something is wrong inside tocsin; its log says what"
	if e, ok := errors.AsType[*oncall.Error](err); ok {
		message = e.Message
	}
	status := statusOf(oncall.ErrorCode(err))
	if status >= 500 {
		w.o.Logger.Error("A request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	switch status {
	case http.StatusServiceUnavailable, http.StatusForbidden:
		w.amRefuse(rw, status, status, message)
	case http.StatusConflict:
		w.amJSON(rw, http.StatusBadRequest, message) // Alertmanager knows no conflicts
	default:
		w.amJSON(rw, status, message)
	}
}

// amBadRequest refuses a parameter.
func (w *Web) amBadRequest(rw http.ResponseWriter, message string) {
	w.amJSON(rw, http.StatusBadRequest, message)
}

// amJSON answers with v as Alertmanager's runtime writes it: <, > and & stay in what has no encoding of its own.
func (w *Web) amJSON(rw http.ResponseWriter, status int, v any) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		w.o.Logger.Error("An answer could not be written as JSON", "err", err)
		status = http.StatusInternalServerError
		b.Reset()
		b.WriteString("\"something is wrong inside tocsin; its log says what\"\n")
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_, _ = rw.Write([]byte(b.String())) // the caller has gone: nobody is left to tell
}

func (w *Web) amStatus(rw http.ResponseWriter, _ *http.Request) {
	am := w.o.Alertmanager
	status, uptime, original := models.ClusterStatusStatusReady, strfmt.DateTime(w.started.UTC()), ""
	if am.Original != nil {
		original = am.Original()
	}
	revision := version.GetRevision()
	answer := models.AlertmanagerStatus{
		Uptime: &uptime,
		Config: &models.AlertmanagerConfig{Original: &original},
		VersionInfo: &models.VersionInfo{Version: &version.Version, Revision: &revision, Branch: &version.Branch,
			BuildUser: &version.BuildUser, BuildDate: &version.BuildDate, GoVersion: &version.GoVersion},
		Cluster: &models.ClusterStatus{Status: &status, Peers: []*models.PeerStatus{}},
	}
	if am.Peers != nil {
		peers := am.Peers()
		slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.Name, b.Name) })
		for _, p := range peers {
			answer.Cluster.Peers = append(answer.Cluster.Peers, &models.PeerStatus{Name: &p.Name, Address: &p.Address})
		}
		if len(peers) > 0 {
			answer.Cluster.Name = peers[0].Name
		}
	}
	w.amJSON(rw, http.StatusOK, answer)
}

func (w *Web) amReceivers(rw http.ResponseWriter, r *http.Request) {
	matchers, err := w.amMatchers(r.URL.Query()["receiver_matchers"])
	if err != nil {
		w.amBadRequest(rw, "failed to parse receiver_matchers param: "+err.Error())
		return
	}
	list := make([]*models.Receiver, 0, 16)
	for _, recv := range w.receivers() {
		if !labelsMatch(matchers, recv.Labels) {
			continue
		}
		ls := models.LabelSet{}
		for k, v := range recv.Labels {
			ls[k] = v
		}
		list = append(list, &models.Receiver{Name: &recv.Name, Labels: ls})
	}
	w.amJSON(rw, http.StatusOK, list)
}

func (w *Web) receivers() []oncall.Receiver {
	if f := w.o.Alertmanager.Receivers; f != nil {
		return f()
	}
	var list []oncall.Receiver
	for _, r := range w.o.Policy().Receivers {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b oncall.Receiver) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// alertFilter is what the parameters of a list of alerts ask for.
type alertFilter struct {
	active, silenced, inhibited, muted bool
	matchers                           []*amlabels.Matcher
	named, labelled                    map[string]bool // receivers of that name, and with those labels; nil: any
}

// amFilter reads the parameters of a list; its error is an answer.
func (w *Web) amFilter(q url.Values) (alertFilter, error) {
	f := alertFilter{active: flag(q, "active"), silenced: flag(q, "silenced"), inhibited: flag(q, "inhibited"), muted: flag(q, "muted")}
	var err error
	if f.matchers, err = w.amMatchers(q["filter"]); err != nil {
		return f, err
	}
	var named *regexp.Regexp
	if v := last(q, "receiver"); v != "" {
		if named, err = regexp.Compile("^(?:" + v + ")$"); err != nil {
			return f, fmt.Errorf("failed to parse receiver param: %w", err)
		}
	}
	matchers, err := w.amMatchers(q["receiver_matchers"])
	if err != nil {
		return f, fmt.Errorf("failed to parse receiver_matchers param: %w", err)
	}
	for _, recv := range w.receivers() {
		f.named = collect(f.named, named != nil, recv.Name, named != nil && named.MatchString(recv.Name))
		f.labelled = collect(f.labelled, len(matchers) > 0, recv.Name, labelsMatch(matchers, recv.Labels))
	}
	return f, nil
}

// collect adds a name to a set that is asked for.
func collect(set map[string]bool, asked bool, name string, is bool) map[string]bool {
	if asked && set == nil {
		set = map[string]bool{}
	}
	if asked {
		set[name] = is
	}
	return set
}

// flag reads a parameter that is true by default. As in Alertmanager, what does not mean yes means no.
func flag(q url.Values, name string) bool {
	switch strings.ToLower(last(q, name)) {
	case "", "true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled":
		return true
	}
	return false
}

func last(q url.Values, name string) string {
	if vs := q[name]; len(vs) > 0 {
		return vs[len(vs)-1]
	}
	return ""
}

func (w *Web) amMatchers(inputs []string) (ms []*amlabels.Matcher, err error) {
	for _, s := range inputs {
		m, err := oncall.ParseMatcher(s, w.o.Alertmanager.Mode)
		if err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// labelsMatch is for labels that may be there without a value.
func labelsMatch(ms []*amlabels.Matcher, ls map[string]string) bool {
	for _, m := range ms {
		v, there := ls[m.Name]
		negative := m.Type == amlabels.MatchNotEqual || m.Type == amlabels.MatchNotRegexp
		if m.Value == "" && there == negative {
			continue
		}
		if !m.Matches(v) {
			return false
		}
	}
	return true
}

// takes reports whether an alert is wanted, but for its receivers.
func (f *alertFilter) takes(a *notifier.AlertView) bool {
	for _, m := range f.matchers {
		if !m.Matches(a.Alert.Labels.Get(m.Name)) {
			return false
		}
	}
	silenced, inhibited := len(a.SilencedBy) > 0, len(a.InhibitedBy) > 0
	active := !silenced && !inhibited && a.State != notifier.AlertUnprocessed
	return (f.active || !active) && (f.silenced || !silenced) && (f.inhibited || !inhibited)
}

// takesReceiver reports whether a receiver's groups are wanted.
func (f *alertFilter) takesReceiver(name string) bool {
	return (f.named == nil || f.named[name]) && (f.labelled == nil || f.labelled[name])
}

// takesOneOf reports whether an alert with these receivers is wanted. As in Alertmanager, the name may be that of
// one receiver and the labels those of another.
func (f *alertFilter) takesOneOf(receivers []string) bool {
	return oneIn(f.named, receivers) && oneIn(f.labelled, receivers)
}

func oneIn(set map[string]bool, receivers []string) bool {
	if set == nil {
		return true
	}
	for _, name := range receivers {
		if set[name] {
			return true
		}
	}
	return false
}

// dispatching refuses where this process cannot say which alerts there are.
func (w *Web) dispatching(rw http.ResponseWriter) bool {
	if w.o.Alertmanager.Dispatch.Ready() {
		return true
	}
	rw.Header().Set("Retry-After", "1")
	w.amRefuse(rw, http.StatusServiceUnavailable, http.StatusServiceUnavailable,
		"this process does not dispatch alerts: it is starting, or another one on the same store has the watch; ask that one")
	return false
}

// jsonBody checks what Alertmanager's runtime checks of a body before it is read. kind names it in errors.
func (w *Web) jsonBody(rw http.ResponseWriter, r *http.Request, kind string) bool {
	if r.ContentLength == 0 {
		w.amRefuse(rw, http.StatusUnprocessableEntity, codeRequired, kind+" in body is required")
		return false
	}
	given := r.Header.Get("Content-Type")
	if given == "" {
		given = "application/octet-stream"
	}
	media, _, err := mime.ParseMediaType(given)
	if err != nil {
		w.amRefuse(rw, http.StatusBadRequest, http.StatusBadRequest, fmt.Sprintf("parsing Content-Type header from %q failed, because %s", given, err))
		return false
	}
	if media != "application/json" {
		w.amRefuse(rw, http.StatusUnsupportedMediaType, http.StatusUnsupportedMediaType,
			fmt.Sprintf("unsupported media type %q, only [application/json] are allowed", media))
		return false
	}
	return true
}
