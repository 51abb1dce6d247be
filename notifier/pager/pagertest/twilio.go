package pagertest

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Twilio is a strict far end that takes calls and messages, and makes the signed requests by which Twilio reports of them. It
// is an http.Handler for a listener of the caller's, and an http.RoundTripper. All methods may be called from any goroutine.
type Twilio struct {
	vendor
	account, token string
	asked          []TwilioRequest
	count          int
}

// TwilioRequest is a call or a message that Twilio took.
type TwilioRequest struct {
	SID  string // CA…, SM…
	Form url.Values
}

// NewTwilio makes one with one account.
func NewTwilio(account, token string) *Twilio {
	return &Twilio{vendor: newVendor(), account: account, token: token}
}

// Asked returns what it took, in order.
func (t *Twilio) Asked() []TwilioRequest {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.asked)
}

// RoundTrip answers a request without a network.
func (t *Twilio) RoundTrip(r *http.Request) (*http.Response, error) { return through(t, r) }

// ServeHTTP takes one request.
func (t *Twilio) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the client went away
	}
	t.mu.Lock()
	f := t.draw()
	status, said := http.StatusCreated, ""
	if f.Status == 0 || f.Record {
		status, said = t.take(r, string(body))
	}
	t.mu.Unlock()
	t.arrived()
	if !failed(w, r, f, body) {
		reply(w, status, said)
	}
}

func twilioError(status, code int, text string) (int, string) {
	return status, fmt.Sprintf(`{"code":%d,"message":%q,"more_info":"https://www.twilio.com/docs/errors/%d","status":%d}`, code, text, code, status)
}

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// take acts on a request. mu is held.
func (t *Twilio) take(r *http.Request, body string) (status int, said string) {
	if user, password, _ := r.BasicAuth(); user != t.account || password != t.token {
		return twilioError(http.StatusUnauthorized, 20003, "Authenticate")
	}
	base := "/2010-04-01/Accounts/" + t.account + "/"
	what, ok := strings.CutPrefix(r.URL.Path, base)
	if !ok || r.Method != http.MethodPost || what != "Calls.json" && what != "Messages.json" {
		t.mind("Twilio: %s %s", r.Method, r.URL.Path)
		return twilioError(http.StatusNotFound, 20404, "The requested resource was not found")
	}
	form, err := url.ParseQuery(body)
	if err != nil || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.mind("Twilio: no form: %v", err)
		return twilioError(http.StatusBadRequest, 21200, "invalid form")
	}
	if wrong := wrongTwilio(what, form); wrong != "" {
		t.mind("Twilio: %s", wrong)
		return twilioError(http.StatusBadRequest, 21211, wrong)
	}
	t.count++
	sid := fmt.Sprintf("%s%032x", map[bool]string{true: "CA", false: "SM"}[what == "Calls.json"], t.count)
	t.asked = append(t.asked, TwilioRequest{sid, form})
	return http.StatusCreated, fmt.Sprintf(`{"sid":%q,"status":"queued","to":%q}`, sid, form.Get("To"))
}

// wrongTwilio says what is wrong with a form, "" for nothing.
func wrongTwilio(what string, form url.Values) string {
	known := []string{"To", "From", "StatusCallback"}
	if what == "Calls.json" {
		known = append(known, "Twiml", "Timeout", "StatusCallbackEvent", "MachineDetection", "AsyncAmd", "AsyncAmdStatusCallback")
	} else {
		known = append(known, "MessagingServiceSid", "Body")
	}
	for k, v := range form {
		if !slices.Contains(known, k) || len(v) != 1 || v[0] == "" {
			return fmt.Sprintf("the field %s is %q", k, v)
		}
	}
	for _, k := range []string{"StatusCallback", "AsyncAmdStatusCallback"} {
		if u, err := url.Parse(form.Get(k)); form.Has(k) && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			return k + " is no URL"
		}
	}
	switch {
	case !e164.MatchString(form.Get("To")):
		return "the 'To' number is not valid"
	case form.Has("From") == form.Has("MessagingServiceSid") || form.Has("From") && !e164.MatchString(form.Get("From")):
		return "the 'From' number is not valid"
	case what == "Messages.json":
		if n := len([]rune(form.Get("Body"))); n == 0 || n > 1600 {
			return "the body has " + strconv.Itoa(n) + " characters"
		}
		return ""
	}
	if n, err := strconv.Atoi(form.Get("Timeout")); err != nil || n < 5 || n > 600 {
		return "the timeout is " + form.Get("Timeout")
	}
	return wrongTwiML(form.Get("Twiml"))
}

// wrongTwiML says what is wrong with a document that tells Twilio what to do, "" for nothing.
func wrongTwiML(doc string) string {
	if len(doc) > 4000 {
		return "the TwiML is longer than 4,000 characters"
	}
	depth := 0
	for d := xml.NewDecoder(strings.NewReader(doc)); ; {
		token, err := d.Token()
		if err == io.EOF && depth == 0 {
			return ""
		}
		if err != nil {
			return "the TwiML is no XML: " + err.Error()
		}
		switch e := token.(type) {
		case xml.StartElement:
			if (depth == 0) != (e.Name.Local == "Response") || !slices.Contains([]string{"Response", "Gather", "Say", "Pause", "Message"}, e.Name.Local) {
				return "the TwiML holds " + e.Name.Local
			}
			depth++
		case xml.EndElement:
			depth--
		}
	}
}

// Press is the request by which Twilio reports a key that was pressed in a call.
func (t *Twilio) Press(ctx context.Context, call TwilioRequest, digits string) *http.Request {
	_, action, _ := strings.Cut(call.Form.Get("Twiml"), ` action="`)
	action, _, _ = strings.Cut(action, `"`)
	return t.Report(ctx, strings.ReplaceAll(action, "&amp;", "&"), url.Values{"CallSid": {call.SID}, "CallStatus": {"in-progress"}, "Digits": {digits}})
}

// Ended is the request by which Twilio reports how a call ended, or where a message is.
func (t *Twilio) Ended(ctx context.Context, r TwilioRequest, status string) *http.Request {
	form := url.Values{"CallSid": {r.SID}, "CallStatus": {status}}
	if strings.HasPrefix(r.SID, "SM") {
		form = url.Values{"MessageSid": {r.SID}, "MessageStatus": {status}, "SmsStatus": {status}}
	}
	return t.Report(ctx, r.Form.Get("StatusCallback"), form)
}

// Answered is the request by which Twilio reports who it is that answered.
func (t *Twilio) Answered(ctx context.Context, call TwilioRequest, by string) *http.Request {
	return t.Report(ctx, call.Form.Get("AsyncAmdStatusCallback"), url.Values{"CallSid": {call.SID}, "AnsweredBy": {by}})
}

// Report is a signed request to an address. The account is added to the form.
func (t *Twilio) Report(ctx context.Context, to string, form url.Values) *http.Request {
	form.Set("AccountSid", t.account)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		panic(err) // of a caller's making
	}
	names := make([]string, 0, len(form))
	for k := range form {
		names = append(names, k)
	}
	sort.Strings(names)
	text := to
	for _, k := range names {
		text += k + form.Get(k)
	}
	m := hmac.New(sha1.New, []byte(t.token))
	m.Write([]byte(text))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	r.Header.Set("X-Twilio-Signature", base64.StdEncoding.EncodeToString(m.Sum(nil)))
	r.RequestURI = r.URL.RequestURI()
	return r
}
