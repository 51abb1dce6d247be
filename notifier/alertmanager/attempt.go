package alertmanager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	texttemplate "text/template"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/notify"
	amtemplate "github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/model"

	"tocsin/oncall"
)

const (
	// Timeout bounds an attempt, whatever the integration allows itself.
	Timeout = 30 * time.Second
	// overtime is what a notifier gets to notice that its context has ended, before it is left behind.
	overtime = 2 * time.Second
	// maxHanging is how many attempts may have been left behind at one integration before no more are made.
	maxHanging    = 8
	maxRetryAfter = time.Hour
)

// notice is one thing to tell an integration.
type notice struct {
	groupKey    string
	groupLabels model.LabelSet
	labels      map[string]string // of the route, templates
	repeat      time.Duration
	routeID     string
	reason      notify.NotifyReason
	alerts      []*alert.Alert
	remote      string // what the far end gave before, a JSON object of texts
	attempt     int
}

// result is what a notifier came to.
type result struct {
	again bool // it may be tried again
	err   error
}

// send makes one attempt.
func (s *Senders) send(ctx context.Context, e oncall.Endpoint, n notice) oncall.Attempt {
	a := oncall.Attempt{At: time.Now(), Number: n.attempt}
	i := s.integrations[e]
	switch {
	case i == nil:
		a.Outcome, a.Error = oncall.OutcomeRefused, "no longer configured: "+string(e)+" is in no receiver"
		return a
	case ctx.Err() != nil:
		a.Outcome, a.Error = oncall.OutcomeRetry, "not sent: "+ctx.Err().Error()
		return a
	case i.hanging.Load() >= maxHanging:
		a.Outcome = oncall.OutcomeRetry
		a.Error = fmt.Sprintf("not sent: %d earlier attempts have not come back from there yet", maxHanging)
		return a
	}
	if !i.sender.SendResolved() {
		if n.alerts = firing(n.alerts); len(n.alerts) == 0 {
			a.Outcome = oncall.OutcomeDelivered // it is not to hear of what resolved
			return a
		}
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	s.attempt(ctx, i, n, &a)
	a.Took = time.Since(a.At)
	return a
}

// attempt tries the texts where they may fail, asks the notifier, and writes into a what came of it. Where a
// text fails, the message goes out with plain ones instead, and says so.
func (s *Senders) attempt(ctx context.Context, i *integration, n notice, a *oncall.Attempt) {
	x := &exchange{}
	store := storeOf(n.remote)
	ctx = s.context(withExchange(ctx, x), i, n, store)
	sender := i.sender
	var tried map[string]rendered
	var failed error
	if i.custom {
		tried, failed = s.try(ctx, i, n)
	}
	var r result
	if failed == nil {
		if r = s.notify(ctx, i, sender, n.alerts); r.err != nil && isTemplate(r.err) && !x.seen().asked {
			failed = r.err
		}
	}
	if failed != nil {
		s.metrics.plain.WithLabelValues(i.list).Inc()
		s.log.Error("A template failed: the message goes out as plain text", "endpoint", i.endpoint, "err", clean(failed.Error(), secretsOf(i.conf)))
		plain, alerts, err := s.plainly(ctx, i, n, tried, failed)
		if err != nil {
			r = result{false, fmt.Errorf("a template says where the message goes, and it failed: %s", templateError(err))}
		} else {
			r = s.notify(ctx, i, plain, alerts)
		}
	}
	judge(ctx, i, r, x.seen(), a)
	if a.Outcome == oncall.OutcomeDelivered {
		a.Remote = remoteOf(store)
		if failed != nil {
			a.Excerpt = clean("sent as plain text, because a template failed: "+templateError(failed), secretsOf(i.conf))
		}
	}
}

// context is what a notifier reads of a notification beside its alerts.
func (s *Senders) context(ctx context.Context, i *integration, n notice, store *nflog.Store) context.Context {
	ctx = notify.WithNow(ctx, time.Now())
	ctx = notify.WithGroupKey(ctx, n.groupKey)
	ctx = notify.WithGroupLabels(ctx, n.groupLabels)
	ctx = notify.WithReceiverName(ctx, i.receiver)
	ctx = notify.WithRepeatInterval(ctx, n.repeat)
	ctx = notify.WithRouteID(ctx, n.routeID)
	ctx = notify.WithNotificationReason(ctx, n.reason)
	ctx = notify.WithNflogStore(ctx, store)
	var firing, resolved []uint64
	for _, a := range n.alerts {
		if a.Resolved() {
			resolved = append(resolved, uint64(a.Fingerprint()))
		} else {
			firing = append(firing, uint64(a.Fingerprint()))
		}
	}
	ctx = notify.WithResolvedAlerts(notify.WithFiringAlerts(ctx, firing), resolved)
	return notify.WithRouteLabels(ctx, s.routeLabels(i.receiver, n))
}

// routeLabels renders a route's labels. One that cannot be rendered is left out, as in Alertmanager.
func (s *Senders) routeLabels(receiver string, n notice) model.LabelSet {
	out := model.LabelSet{}
	if len(n.labels) == 0 {
		return out
	}
	raw := make(model.LabelSet, len(n.labels))
	templates := false
	for name, value := range n.labels {
		raw[model.LabelName(name)] = model.LabelValue(value)
		templates = templates || strings.Contains(value, "{{")
	}
	if !templates {
		return raw
	}
	data := s.theirs.Data(receiver, n.groupLabels, raw, notify.ReasonUnknown.String(), n.alerts...)
	for name, value := range n.labels {
		if rendered, err := s.routeLabel(value, data, n.labels, nil); err == nil {
			out[model.LabelName(name)] = model.LabelValue(rendered)
		} else {
			s.log.Error("A route's label could not be rendered: it is left out", "label", name, "err", err)
		}
	}
	return out
}

// routeLabel renders one label within bounds. Labels may name each other, but not in a circle.
func (s *Senders) routeLabel(value string, data *amtemplate.Data, all map[string]string, above []string) (string, error) {
	var failed error
	text, err := s.texts.renderWith(value, data, func(name string) string {
		for _, a := range above {
			if a == name {
				failed = fmt.Errorf("the labels %s name each other in a circle", strings.Join(append(above, name), ", "))
				return ""
			}
		}
		below, err := s.routeLabel(all[name], data, all, append(above[:len(above):len(above)], name))
		if err != nil {
			failed = err
		}
		return below
	})
	return text, errors.Join(err, failed)
}

// notify asks a notifier on a goroutine of its own: it may panic, and it may not come back.
func (s *Senders) notify(ctx context.Context, i *integration, sender notify.Integration, alerts []*alert.Alert) result {
	back := make(chan result, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("A notifier panicked", "endpoint", i.endpoint, "panic", clean(fmt.Sprint(p), secretsOf(i.conf)))
				back <- result{true, errors.New("the notifier failed on this message")}
			}
		}()
		again, err := sender.Notify(ctx, alerts...)
		back <- result{again, err}
	}()
	select {
	case r := <-back:
		return r
	case <-ctx.Done():
	}
	late := time.NewTimer(overtime)
	defer late.Stop()
	select {
	case r := <-back:
		return r
	case <-late.C:
		s.metrics.abandoned.WithLabelValues(i.list).Inc()
		s.log.Error("A notifier does not come back: it is left behind", "endpoint", i.endpoint)
		i.hanging.Add(1)
		go func() {
			<-back
			i.hanging.Add(-1)
		}()
		return result{true, context.Cause(ctx)}
	}
}

// judge says what an attempt came to.
func judge(ctx context.Context, i *integration, r result, x heard, a *oncall.Attempt) {
	a.Status = x.status
	if r.err == nil {
		a.Outcome = oncall.OutcomeDelivered
		return
	}
	secrets := secretsOf(i.conf)
	for _, h := range x.secrets {
		secrets = append(secrets, authSecrets(h)...)
	}
	a.Excerpt = clean(string(x.body), secrets)
	answered(r, x, a)
	switch {
	case a.Outcome != "":
		if a.Outcome != oncall.OutcomeDelivered && a.Status/100 == 2 {
			a.Error = clean("refused: "+r.err.Error(), secrets)
			if a.Outcome == oncall.OutcomeRetry {
				a.Error = clean("not accepted: "+r.err.Error(), secrets)
			}
		}
	case !x.asked && !r.again && !isFile(r.err):
		a.Outcome, a.Error = oncall.OutcomeRefused, clean("could not be sent: "+r.err.Error(), secrets)
	case !x.asked && clientOf(&i.sender) != nil:
		a.Outcome, a.Error = oncall.OutcomeRetry, clean("not sent: "+r.err.Error(), secrets)
	default:
		a.Outcome, a.Error = oncall.OutcomeRetry, clean(unanswered(ctx, r.err, x), secrets)
		if x.written || !x.asked {
			a.Outcome = oncall.OutcomeUnknown
		}
	}
}

// answered judges by the far end's answer, seen or, where the tap saw nothing, named in the error's text.
func answered(r result, x heard, a *oncall.Attempt) {
	status := x.status
	if m := statusInText.FindStringSubmatch(r.err.Error()); status == 0 && m != nil {
		status, _ = strconv.Atoi(m[1] + m[2])
		a.Status = status
		if m := waitInText.FindStringSubmatch(r.err.Error()); m != nil {
			x.after = m[1]
		}
	}
	switch {
	case status == 0:
		return
	case status == http.StatusGone:
		a.Outcome, a.Error = oncall.OutcomeGone, "answered 410 Gone: it wants no more messages; this endpoint is off until the next reload"
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status >= 500:
		a.Outcome, a.Error = oncall.OutcomeRetry, "answered "+statusText(status)
		a.RetryAfter = retryAfter(x.after, a.At)
	case status/100 == 2 && (r.again || passing.MatchString(r.err.Error())):
		a.Outcome, a.RetryAfter = oncall.OutcomeRetry, retryAfter(x.after, a.At)
	case r.again:
		a.Outcome, a.Error = oncall.OutcomeRetry, "answered "+statusText(status)
	default:
		a.Outcome, a.Error = oncall.OutcomeRefused, "refused with "+statusText(status)
	}
}

var (
	// statusInText finds the status in errors of notifiers whose HTTP client is their own: Telegram's and SNS'.
	statusInText = regexp.MustCompile(`unexpected status code (\d{3})|telegram: .*\((\d{3})\)`)
	waitInText   = regexp.MustCompile(`retry after (\d+)`)
	// passing are Slack's refusals that pass: it says them with status 200.
	passing = regexp.MustCompile(`\b(ratelimited|rate_limited|internal_error|fatal_error|service_unavailable|request_timeout|team_added_to_org)\b`)
)

// unanswered says why there is no answer.
func unanswered(ctx context.Context, err error, x heard) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	where := "no answer"
	if x.host != "" {
		where = "no answer from " + x.host
		if !x.written {
			where = "could not reach " + x.host
		}
	}
	timeout := errors.Is(err, context.DeadlineExceeded)
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
		timeout = true
	}
	switch {
	case timeout && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return where + " within " + Timeout.String()
	case errors.Is(err, context.Canceled):
		return where + ": the attempt was cut short"
	}
	return where + ": " + err.Error()
}

// isTemplate reports that an error is one of a template.
func isTemplate(err error) bool {
	_, ok := errors.AsType[texttemplate.ExecError](err)
	return ok || strings.Contains(err.Error(), "template: ")
}

// isFile reports that a file could not be read: it may be there the next time.
func isFile(err error) bool {
	_, ok := errors.AsType[*fs.PathError](err)
	return ok
}

func statusText(s int) string {
	return strings.TrimSpace(strconv.Itoa(s) + " " + http.StatusText(s))
}

// retryAfter reads the header's two forms, seconds and an HTTP date; zero where it says nothing usable.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	var d time.Duration
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		d = time.Duration(min(n, int64(maxRetryAfter/time.Second))) * time.Second
	} else if t, err := http.ParseTime(v); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// remoteKeys are what notifiers keep of a far end's answer.
var remoteKeys = []string{"threadTs", "channelId"}

func storeOf(remote string) *nflog.Store {
	store := nflog.NewStore(nil)
	var kept map[string]string
	if remote != "" && json.Unmarshal([]byte(remote), &kept) == nil {
		for key, value := range kept {
			store.SetStr(key, value)
		}
	}
	return store
}

func remoteOf(store *nflog.Store) string {
	kept := map[string]string{}
	for _, key := range remoteKeys {
		if value, ok := store.GetStr(key); ok {
			kept[key] = value
		}
	}
	if len(kept) == 0 {
		return ""
	}
	b, err := json.Marshal(kept)
	if err != nil {
		return ""
	}
	return string(b)
}
