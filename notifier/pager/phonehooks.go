package pager

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/oncall"
)

// PhoneActs is the way in for what people do by telephone, and for what Twilio reports: *notifier.Acts.
type PhoneActs interface {
	Acts
	// Incidents lists incidents, newest first.
	Incidents(ctx context.Context, f oncall.IncidentFilter) ([]oncall.Incident, error)
	// Confirm commits what is reported of a delivery: delivered or refused.
	Confirm(ctx context.Context, key string, evidence oncall.Attempt, state oncall.DeliveryState) error
}

// PhoneHookOptions are what PhoneHooks need.
type PhoneHookOptions struct {
	Acts PhoneActs
	// Delivery returns one delivery with its body, or not_found.
	Delivery   func(ctx context.Context, key string) (oncall.Delivery, error)
	Policy     func() oncall.Policy  // the policy in force; called for each report, from any goroutine
	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: the metrics are not shown
}

// PhoneHooks hear from Twilio: keys that were pressed, how calls and messages ended, and messages that people write. All
// of it is signed with the account's auth token. Any goroutine may use it.
type PhoneHooks struct {
	o       PhoneHookOptions
	entries atomic.Pointer[map[oncall.Endpoint]Twilio] // nil until Apply
	reports *prometheus.CounterVec
}

// NewPhoneHooks makes PhoneHooks that hear nobody before Apply.
func NewPhoneHooks(o PhoneHookOptions) *PhoneHooks {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &PhoneHooks{o: o, reports: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_phone_reports_total",
		Help: "Requests of Twilio, by what they are (digit, status, amd, sms) and what became of them: taken, refused (not authentic, not readable), failed.",
	}, []string{"what", "outcome"})}
	if o.Registerer != nil {
		o.Registerer.MustRegister(h.reports)
	}
	return h
}

// Apply sets whom to hear from the next request on. The map must not be changed afterwards.
func (h *PhoneHooks) Apply(all map[oncall.Endpoint]Twilio) { h.entries.Store(&all) }

// all returns the entries in force.
func (h *PhoneHooks) all() map[oncall.Endpoint]Twilio {
	if p := h.entries.Load(); p != nil {
		return *p
	}
	return nil
}

// ServeHTTP takes one request: of the path's values, token is a page's, "" for messages that people write, and what says
// what is reported.
func (h *PhoneHooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, what := r.PathValue("token"), r.PathValue("what")
	if token == "" {
		what = "sms"
	}
	if !slices.Contains([]string{"digit", "status", "amd", "sms"}, what) {
		http.NotFound(w, r)
		return
	}
	refuse := func(status int, text string) {
		h.reports.WithLabelValues(what, reportRefused).Inc()
		http.Error(w, text, status)
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			refuse(http.StatusRequestEntityTooLarge, tooLarge.Error())
			return
		}
		refuse(http.StatusBadRequest, "this is no form")
		return
	}
	path := "/hooks/twilio/sms"
	if token != "" {
		path = "/hooks/twilio/" + token + "/" + what
	}
	if !h.signed(r, path) {
		h.o.Logger.Warn("A request that says it is Twilio's was refused", "what", what,
			"err", "its signature does not match: is --web.external-url the address that Twilio was given, and the auth token that of the account?")
		refuse(http.StatusForbidden, "the signature does not match")
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), reportTime) // Twilio hangs up with the caller
	defer cancel()
	answer, err := h.hear(ctx, token, what, r)
	if err != nil {
		h.o.Logger.Error("What Twilio reported could not be committed", "what", what, "err", err)
		h.reports.WithLabelValues(what, reportFailed).Inc()
		if answer == "" {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "it could not be committed", http.StatusServiceUnavailable)
			return
		}
	} else {
		h.reports.WithLabelValues(what, "taken").Inc()
	}
	w.Header().Set("Cache-Control", "no-store")
	if answer == "" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	_, _ = io.WriteString(w, answer) // the far end may be gone
}

// signed reports whether the request was signed with the token of the account that it names.
func (h *PhoneHooks) signed(r *http.Request, path string) bool {
	u := h.o.Policy().ExternalURL + path
	if r.URL.RawQuery != "" {
		u += "?" + r.URL.RawQuery
	}
	got := []byte(r.Header.Get("X-Twilio-Signature"))
	good := false
	for _, t := range h.all() {
		if t.Account != r.PostForm.Get("AccountSid") {
			continue
		}
		for _, u := range []string{u, withPort(u)} { // Twilio signs with the scheme's own port or without it
			good = hmac.Equal(got, []byte(twilioSignature(t.Token, u, r.PostForm))) || good
		}
	}
	return good && len(got) > 0
}

// withPort is a URL with the port that its scheme implies.
func withPort(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Port() != "" {
		return s
	}
	port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	return strings.Replace(s, "://"+u.Host, "://"+u.Host+port, 1)
}

// twilioSignature is what Twilio signs a request with: the URL, and after it each field's name and value, in order.
func twilioSignature(token, u string, form url.Values) string {
	m := hmac.New(sha1.New, []byte(token))
	_, _ = io.WriteString(m, u)
	for _, k := range slices.Sorted(maps.Keys(form)) {
		for _, v := range form[k] {
			_, _ = io.WriteString(m, k+v)
		}
	}
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// hear does what a request says, and returns the TwiML of the answer, "" for none. With an error too, where there is
// something to say.
func (h *PhoneHooks) hear(ctx context.Context, token, what string, r *http.Request) (string, error) {
	if what == "sms" {
		return h.message(ctx, r.PostForm)
	}
	key, ok := oncall.CheckLink(h.o.Policy().LinkKey, token)
	if !ok {
		return "", nil // signed by Twilio, about no page of ours
	}
	language := "en-US"
	if oncall.IsTestKey(key) {
		if what == "digit" {
			return response(say(language, "Thank you. This was a test, and there is nothing to acknowledge. Goodbye.")), nil
		}
		return "", nil
	}
	number, _ := strconv.Atoi(r.URL.Query().Get("attempt"))
	if what == "digit" {
		return h.digit(ctx, key, number, r.PostForm)
	}
	evidence := oncall.Attempt{Number: number, Remote: cmp.Or(r.PostForm.Get("CallSid"), r.PostForm.Get("MessageSid"))}
	arrived, text := ended(what, r.PostForm)
	if text == "" {
		return "", nil
	}
	return "", h.confirm(ctx, key, evidence, arrived, text)
}

// confirm reports what became of a page. What is no longer kept needs no report.
func (h *PhoneHooks) confirm(ctx context.Context, key string, evidence oncall.Attempt, arrived bool, text string) error {
	state := oncall.DeliveryDelivered
	evidence.Outcome, evidence.Error = oncall.OutcomeDelivered, text
	if !arrived {
		state, evidence.Outcome = oncall.DeliveryRefused, oncall.OutcomeRefused
	}
	err := h.o.Acts.Confirm(ctx, key, evidence, state)
	if oncall.ErrorCode(err) == oncall.CodeNotFound {
		return nil
	}
	return err
}

// ended says what a report of Twilio's means: whether a person was reached, and in words why. "": it means nothing yet.
func ended(what string, form url.Values) (arrived bool, text string) {
	if what == "amd" {
		by := form.Get("AnsweredBy")
		switch {
		case by == "human":
			return true, "a person answered"
		case strings.HasPrefix(by, "machine_"):
			return false, "voicemail answered"
		case by == "fax":
			return false, "a fax machine answered"
		}
		return false, ""
	}
	code := ""
	if c := form.Get("ErrorCode"); c != "" && len(c) < 8 {
		code = " (Twilio's error " + c + ")"
	}
	switch form.Get("CallStatus") {
	case "busy":
		return false, "the line was busy"
	case "no-answer":
		return false, "nobody answered the call"
	case "canceled":
		return false, "the call was canceled"
	case "failed":
		return false, "the call failed" + code
	case "completed": // by a person who pressed a key: then that was confirmed before
		return false, "the call ended without a key: perhaps voicemail answered"
	}
	switch cmp.Or(form.Get("MessageStatus"), form.Get("SmsStatus")) {
	case "delivered", "read":
		return true, "the message was delivered"
	case "undelivered":
		return false, "the message could not be delivered" + code
	case "failed":
		return false, "the message could not be sent" + code
	}
	return false, ""
}

// digit does what a key says that was pressed during a call.
func (h *PhoneHooks) digit(ctx context.Context, key string, number int, form url.Values) (string, error) {
	d, err := h.o.Delivery(ctx, key)
	if oncall.ErrorCode(err) == oncall.CodeNotFound {
		return response(say("en-US", "This incident is over, and no longer kept. Goodbye.")), nil
	}
	if err != nil {
		return "", err
	}
	var page oncall.Page
	if err := json.Unmarshal(d.Body, &page); err != nil {
		return "", err
	}
	language := cmp.Or(h.all()[d.Endpoint].Language, "en-US")
	back := callback(page.Data.Page.AckURL)
	c := oncall.Command{Actor: cmp.Or(d.User, d.Target) + " by phone", Via: "phone", Delivery: key}
	pressed := form.Get("Digits")
	again := func(text string) string {
		return response(gather(back, number, say(language, text)+say(language, spokenSummary(page)+menu(page))) + say(language, "No key was pressed. Goodbye."))
	}
	switch pressed {
	case "4":
		c.Kind = oncall.CmdAcknowledge
	case "6":
		c.Kind, c.Seen = oncall.CmdEscalate, &oncall.Seen{Round: d.Round, Tier: d.Tier}
	case "":
		return response(say(language, "No key was pressed, and so nobody has acknowledged it. Goodbye.")), nil
	}
	answer := again("")
	if pressed != "1" {
		answer = again("This key does nothing.")
	}
	if c.Kind != "" {
		decision, err := h.o.Acts.Act(ctx, d.Incident, c, "twilio:"+form.Get("CallSid")+":"+pressed)
		if err != nil {
			return again("That could not be recorded just now. Please press the key again."), err
		}
		answer = response(say(language, sentence(pronounceable(cmp.Or(decision.Reply, "done")))+"Goodbye."))
	}
	return answer, h.confirm(ctx, key, oncall.Attempt{Number: number, Remote: form.Get("CallSid")}, true, "a person answered, and pressed "+cut(pressed, 1))
}
