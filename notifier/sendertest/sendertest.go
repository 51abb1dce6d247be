// Package sendertest is the conformance suite that every notifier.Sender passes: what it makes of success,
// refusal, overload and silence, that it stops when told, and that it keeps secrets to itself.
//
// It knows no wire format: a Harness brings the sender together with a fake far end that can be told how to
// behave. A new sender joins by a test of its own package that calls Run with a function which makes, for each test:
//
//   - the fake, a strict one that checks all a real far end could check, behind a Front where it speaks HTTP;
//   - the sender, configured to reach it, with a secret in every place that can hold one (password, path, query, token);
//   - a Harness that maps each Behaviour to a fault of the fake, and lists those secrets, also as they are encoded.
//
// Start reading at Run; front.go holds what any server may do to a request.
package sendertest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// Behaviour is how a fake far end treats requests.
type Behaviour string

// The behaviours. A far end that records has acted on the request, whatever it answers.
const (
	Accept  Behaviour = "accept"  // record, answer yes
	Refuse  Behaviour = "refuse"  // do not record, answer no for good
	Busy    Behaviour = "busy"    // do not record, answer 503 (Slack: a retryable error)
	Limited Behaviour = "limited" // do not record, answer 429 with Retry-After: 7
	Garbage Behaviour = "garbage" // answer 500 with a page of HTML that holds control characters
	Reset   Behaviour = "reset"   // record, then break the connection without an answer
	Hang    Behaviour = "hang"    // record, then say nothing until the client goes away
	Echo    Behaviour = "echo"    // refuse, and repeat the request's headers, URL and body in the answer
)

// RetryAfter is what a Limited far end asks for.
const RetryAfter = 7 * time.Second

// Harness is one sender in front of one fake far end. The suite makes a fresh one for each test.
type Harness struct {
	Sender notifier.Sender
	// Behave sets what the far end does from now on.
	Behave func(Behaviour)
	// Message returns something that the sender can send, under the given key.
	Message func(key string) notifier.Message
	// Recorded returns the keys of what the far end acted on, in order, and "" for each where the wire
	// format has no place for a key.
	Recorded func() []string
	// Arrived receives once for each request that reached the far end, before it is answered. It is
	// buffered or unread values are dropped: the far end must not block on it.
	Arrived <-chan struct{}
	// Secrets must appear in no attempt: tokens, signing secrets, passwords, secret parts of URLs.
	Secrets []string
	// Keyless says that the wire format has no place for a key.
	Keyless bool
	// Front stands before the far end; nil: it does not speak HTTP, and what a Front does is not tested.
	Front *Front
	// Follows says that redirects are followed, as the sender's own format has it: Alertmanager's integrations do, unless
	// follow_redirects is false.
	Follows bool
	// Success is what a message comes to that the far end takes; "": delivered. Far ends that confirm later accept.
	Success oncall.Outcome
	// Normal takes away from a request's body what an attempt must say of itself, such as its number; nil: nothing.
	Normal func(body string) string
	// Log returns all that was logged so far, nil where the sender logs nothing. Secrets must not appear in it either.
	Log func() string
	// NoEcho says that the far end cannot show requests back (Slack's answers are JSON of Slack's making).
	NoEcho bool
}

// Run tests the sender that newHarness makes. newHarness may use t.Cleanup.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*testing.T, Harness)
	}{
		{"an accepted message is delivered", accepted},
		{"a refusal is final", refused},
		{"an overloaded far end is asked again", busy},
		{"Retry-After is passed on", limited},
		{"a broken answer is shortened and cleaned", garbage},
		{"a broken connection leaves the outcome unknown", reset},
		{"a silent far end leaves the outcome unknown when the context ends", hang},
		{"a context that has ended sends nothing", cancelled},
		{"the key is the same for every attempt", keys},
		{"secrets do not come back out", secrets},
		{"many goroutines may send", concurrent},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newHarness(t)) })
	}
	for _, c := range frontTests {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t)
			if h.Front == nil {
				t.Skip("the far end stands behind no Front: it does not speak HTTP")
			}
			c.test(t, h)
		})
	}
}

// send makes one attempt and checks what must hold of every attempt.
func send(t *testing.T, ctx context.Context, h Harness, key string) oncall.Attempt {
	t.Helper()
	a := h.Sender.Send(ctx, h.Message(key))
	check(t, h, a)
	return a
}

func check(t *testing.T, h Harness, a oncall.Attempt) {
	t.Helper()
	switch a.Outcome {
	case oncall.OutcomeDelivered, oncall.OutcomeAccepted:
		if a.Error != "" {
			t.Errorf("a delivered attempt carries an error: %q", a.Error)
		}
	case oncall.OutcomeRetry, oncall.OutcomeUnknown, oncall.OutcomeRefused, oncall.OutcomeGone:
		if a.Error == "" {
			t.Errorf("an attempt with outcome %s says nothing about why", a.Outcome)
		}
	default:
		t.Errorf("outcome %q is none of the six", a.Outcome)
	}
	if n := len([]rune(a.Excerpt)); n > 200 {
		t.Errorf("the excerpt has %d characters, at most 200 are kept", n)
	}
	if len(a.Error) > 500 {
		t.Errorf("the error has %d bytes; it is shown on a timeline", len(a.Error))
	}
	for _, s := range []string{a.Error, a.Excerpt} {
		if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
			t.Errorf("control character %q in %q", s[i], s)
		}
	}
	b, err := json.Marshal(a)
	if err != nil {
		t.Fatalf("an attempt must fit on the timeline: %v", err)
	}
	all := string(b) + fmt.Sprintf("%+v", a)
	for _, s := range h.Secrets {
		if s != "" && strings.Contains(all, s) {
			t.Errorf("the attempt shows the secret %q: %s", s, b)
		}
	}
}

func want(t *testing.T, a oncall.Attempt, outcome oncall.Outcome) {
	t.Helper()
	if a.Outcome != outcome {
		t.Errorf("outcome %q, want %q (error %q, status %d)", a.Outcome, outcome, a.Error, a.Status)
	}
}

func wantRecorded(t *testing.T, h Harness, n int) {
	t.Helper()
	if got := h.Recorded(); len(got) != n {
		t.Errorf("the far end recorded %d messages %v, want %d", len(got), got, n)
	}
}

func accepted(t *testing.T, h Harness) {
	h.Behave(Accept)
	want(t, send(t, t.Context(), h, "msg_a"), cmp.Or(h.Success, oncall.OutcomeDelivered))
	wantRecorded(t, h, 1)
}

func refused(t *testing.T, h Harness) {
	h.Behave(Refuse)
	want(t, send(t, t.Context(), h, "msg_a"), oncall.OutcomeRefused)
	wantRecorded(t, h, 0)
}

func busy(t *testing.T, h Harness) {
	h.Behave(Busy)
	want(t, send(t, t.Context(), h, "msg_a"), oncall.OutcomeRetry)
	wantRecorded(t, h, 0)
	h.Behave(Accept)
	want(t, send(t, t.Context(), h, "msg_a"), cmp.Or(h.Success, oncall.OutcomeDelivered))
	wantRecorded(t, h, 1)
}

func limited(t *testing.T, h Harness) {
	h.Behave(Limited)
	a := send(t, t.Context(), h, "msg_a")
	want(t, a, oncall.OutcomeRetry)
	if a.RetryAfter != RetryAfter {
		t.Errorf("RetryAfter is %s, the far end asked for %s", a.RetryAfter, RetryAfter)
	}
	wantRecorded(t, h, 0)
}

func garbage(t *testing.T, h Harness) {
	h.Behave(Garbage)
	want(t, send(t, t.Context(), h, "msg_a"), oncall.OutcomeRetry)
}

func reset(t *testing.T, h Harness) {
	h.Behave(Reset)
	want(t, send(t, t.Context(), h, "msg_a"), oncall.OutcomeUnknown)
	wantRecorded(t, h, 1)
}

func hang(t *testing.T, h Harness) {
	h.Behave(Hang)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(chan oncall.Attempt, 1)
	go func() { got <- h.Sender.Send(ctx, h.Message("msg_a")) }()
	<-h.Arrived
	cancel()
	a := <-got // a sender that ignores its context hangs here, and the test's deadline says so
	check(t, h, a)
	want(t, a, oncall.OutcomeUnknown)
}

func cancelled(t *testing.T, h Harness) {
	h.Behave(Accept)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := send(t, ctx, h, "msg_a")
	if a.Outcome != oncall.OutcomeRetry && a.Outcome != oncall.OutcomeUnknown {
		t.Errorf("outcome %q; nothing was sent, so it is to be tried again", a.Outcome)
	}
	wantRecorded(t, h, 0)
}

func keys(t *testing.T, h Harness) {
	h.Behave(Reset)
	send(t, t.Context(), h, "msg_stable")
	h.Behave(Accept)
	send(t, t.Context(), h, "msg_stable")
	send(t, t.Context(), h, "msg_other")
	expect := []string{"msg_stable", "msg_stable", "msg_other"}
	if h.Keyless {
		expect = []string{"", "", ""}
	}
	if got := h.Recorded(); !slices.Equal(got, expect) {
		t.Errorf("the far end saw the keys %q, want %q", got, expect)
	}
}

func secrets(t *testing.T, h Harness) {
	if len(h.Secrets) == 0 {
		t.Fatal("the harness names no secrets: the suite could not see them leak")
	}
	for _, b := range []Behaviour{Accept, Refuse, Busy, Limited, Garbage, Reset} {
		h.Behave(b)
		send(t, t.Context(), h, "msg_"+string(b))
	}
	if !h.NoEcho {
		h.Behave(Echo)
		want(t, send(t, t.Context(), h, "msg_echo"), oncall.OutcomeRefused)
	}
	logged := ""
	if h.Log != nil {
		logged = h.Log()
	}
	for _, s := range h.Secrets {
		if strings.Contains(logged, s) {
			t.Errorf("the log shows the secret %q", s)
		}
		for _, format := range []string{"%v", "%+v", "%s"} {
			if strings.Contains(fmt.Sprintf(format, h.Sender), s) {
				t.Errorf("the sender printed with %s shows the secret %q", format, s)
			}
		}
	}
}

func concurrent(t *testing.T, h Harness) {
	h.Behave(Accept)
	const n = 8
	outcomes := make([]oncall.Attempt, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { outcomes[i] = h.Sender.Send(t.Context(), h.Message(fmt.Sprintf("msg_%d", i))) })
	}
	wg.Wait()
	for _, a := range outcomes {
		want(t, a, cmp.Or(h.Success, oncall.OutcomeDelivered))
	}
	wantRecorded(t, h, n)
}
