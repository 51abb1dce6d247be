package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// gate is what every request to Slack passes, whoever makes it: only methods that are known, none while Slack has
// asked to wait with that method in that channel, and none faster than the method's tier allows. One method's limit
// holds up no other, and one channel's no other channel.
type gate struct {
	next http.RoundTripper
	api  *url.URL                          // of slack.api_url
	seen func(method string, a answerHead) // what a method answered; called in order of the answers

	mu   sync.Mutex // guards what follows
	held map[limitKey]time.Time
	free map[string]time.Time // when the next call of a method may go, where calls are spread
}

// limitKey is what Slack limits: a method, in a channel where that counts.
type limitKey struct{ method, channel string }

// answerHead is what all answers of Slack's begin with.
type answerHead struct {
	OK     bool   `json:"ok"`
	Error  string `json:"error"`
	Needed string `json:"needed"`
	// Scopes are those of the token, as the answer's header has them; "" where there is none.
	Scopes string `json:"-"`
}

func newGate(next http.RoundTripper, api *url.URL, seen func(string, answerHead)) *gate {
	if next == nil {
		next = http.DefaultTransport
	}
	return &gate{next: next, api: api, seen: seen, held: map[limitKey]time.Time{}, free: map[string]time.Time{}}
}

// RoundTrip implements http.RoundTripper. Requests to other addresses (private answers, uploads) pass.
func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	name, ok := g.method(r.URL)
	if !ok {
		return g.next.RoundTrip(r)
	}
	m, known := methods[name]
	if !known {
		return nil, fmt.Errorf("%s is not among the methods that the app's manifest allows for: this is a defect of tocsin", name)
	}
	key := limitKey{method: name}
	if m.byChannel {
		key.channel = channelOf(r)
	}
	if wait := g.holds(key, time.Now()); wait > 0 {
		return tooMany(r, wait), nil
	}
	if err := g.pace(r.Context(), name, m.perMinute); err != nil {
		return nil, err
	}
	resp, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	g.note(key, resp)
	return resp, nil
}

// method returns which method a request is for.
func (g *gate) method(u *url.URL) (string, bool) {
	if g.api == nil || u.Host != g.api.Host {
		return "", false
	}
	return strings.CutPrefix(u.Path, g.api.Path)
}

// channelOf reads the channel out of a request, which is left as it is.
func channelOf(r *http.Request) string {
	if r.GetBody == nil {
		return ""
	}
	body, err := r.GetBody()
	if err != nil {
		return ""
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxBody))
	if err != nil {
		return ""
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var in struct {
			Channel string `json:"channel"`
		}
		_ = json.Unmarshal(b, &in) // without a channel it is limited as the method is
		return in.Channel
	}
	form, err := url.ParseQuery(string(b))
	if err != nil {
		return ""
	}
	return form.Get("channel")
}

// holds returns for how much longer Slack asked to wait.
func (g *gate) holds(key limitKey, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	until, ok := g.held[key]
	if ok && !until.After(now) {
		delete(g.held, key)
		return 0
	}
	return until.Sub(now)
}

// pace waits for a call's turn. The turn of a call that is given up is lost, which does no harm.
func (g *gate) pace(ctx context.Context, method string, perMinute int) error {
	if perMinute == 0 {
		return nil
	}
	g.mu.Lock()
	now := time.Now()
	turn := g.free[method]
	// A short burst is allowed: a check asks for a handful of things at once.
	if earliest := now.Add(-10 * time.Second); turn.Before(earliest) {
		turn = earliest
	}
	g.free[method] = turn.Add(time.Minute / time.Duration(perMinute))
	g.mu.Unlock()
	wait := turn.Sub(now)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// note reads an answer, remembers what it asks for, and puts it back.
func (g *gate) note(key limitKey, resp *http.Response) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	resp.Body.Close()
	resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), ending{err}))
	var head answerHead
	understood := err == nil && json.Unmarshal(body, &head) == nil
	head.Scopes = resp.Header.Get("X-Oauth-Scopes")
	if resp.StatusCode == http.StatusTooManyRequests || understood && !head.OK && limited(head.Error) {
		wait := max(parseRetryAfter(resp.Header.Get("Retry-After"), time.Now()), time.Second)
		g.mu.Lock()
		if len(g.held) > 10_000 { // channels of long ago; what still holds is soon learned again
			clear(g.held)
		}
		g.held[key] = time.Now().Add(wait)
		g.mu.Unlock()
	}
	if understood && resp.StatusCode == http.StatusOK && g.seen != nil {
		g.seen(key.method, head)
	}
}

// ending yields the error that ended an answer early, or its regular end.
type ending struct{ err error }

func (f ending) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}

func limited(code string) bool { return code == "ratelimited" || code == "rate_limited" }

// tooMany answers in Slack's place while it wants to be left alone.
func tooMany(r *http.Request, wait time.Duration) *http.Response {
	seconds := int64((wait + time.Second - 1) / time.Second)
	const body = `{"ok":false,"error":"ratelimited"}`
	return &http.Response{Status: "429 Too Many Requests", StatusCode: http.StatusTooManyRequests, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}, "Retry-After": {strconv.FormatInt(seconds, 10)}},
		Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r}
}

// parseRetryAfter reads seconds or a date, an hour at most.
func parseRetryAfter(h string, now time.Time) time.Duration {
	h = strings.TrimSpace(h)
	if at, err := http.ParseTime(h); err == nil {
		return min(max(at.Sub(now), 0), time.Hour)
	}
	s, err := strconv.ParseFloat(h, 64)
	if err != nil || !(s > 0) {
		return 0
	}
	return time.Duration(min(s, 3600) * float64(time.Second))
}
