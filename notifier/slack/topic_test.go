package slack

import (
	"strings"
	"testing"
	"testing/synctest"

	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

func TestTopicWith(t *testing.T) {
	for _, c := range []struct{ old, says, want string }{
		{"", "ana", "[On call: ana]"},
		{"Session & memory", "ana until Mon 09:00", "Session & memory | [On call: ana until Mon 09:00]"},
		{"Session | [On call: ana until Mon 09:00]", "bo", "Session | [On call: bo]"},
		{"[On call: ana] what somebody wrote behind it", "bo", "what somebody wrote behind it | [On call: bo]"},
		{"[On call: ana] | [On call: ana]", "bo [the elder]", "[On call: bo (the elder)]"},
		{"[runbooks]", "nobody", "[runbooks] | [On call: nobody]"},
		{strings.Repeat("é", 231), "ana", strings.Repeat("é", 231) + " | [On call: ana]"},
		{strings.Repeat("é", 234), "ana", ""},
	} {
		got, err := topicWith(c.old, c.says)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q: %q, %v", c.old, got, err)
		}
		if again, err := topicWith(got, c.says); c.want != "" && (again != got || err != nil) {
			t.Errorf("again it is %q", again)
		}
	}
}

func TestTypedTopic(t *testing.T) {
	for shown, want := range map[string]string{
		"a &lt;b&gt; &amp;lt; c":                       "a <b> &lt; c",
		"see <https://runbooks.example/a?b=1&amp;c=2>": "see https://runbooks.example/a?b=1&c=2",
		"<http://example.org|example.org>":             "example.org",
		"<https://example.org|the wiki>":               "https://example.org",
		"ask <#C0OPS|ops>":                             "ask <#C0OPS|ops>",
	} {
		if got := typedTopic(shown); got != want {
			t.Errorf("%q: %q", shown, got)
		}
	}
}

func TestSetTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(), nil)
		set := func(channel, says string, outcome oncall.Outcome, changed bool, err string) {
			t.Helper()
			got := w.SetTopic(t.Context(), channel, says)
			if got.Outcome != outcome || got.Changed != changed || !strings.Contains(got.Error, err) || (err == "") != (got.Error == "") {
				t.Errorf("%+v", got)
			}
		}
		set("#session-alerts", "ana", "delivered", true, "")
		set("#session-alerts", "ana", "delivered", false, "")
		set("#session-alerts", "bo", "delivered", true, "")
		if n := len(w.slack.Calls("conversations.setTopic")); n != 2 {
			t.Errorf("written %d times", n)
		}
		set("#nowhere", "bo", "refused", false, "no channel #nowhere")
		w.slack.Fail(slacktest.Fault{Method: "conversations.setTopic", Stage: slacktest.Before, Error: "missing_scope"})
		set("#session-alerts", "ana", "refused", false, "add the scope")
		w.slack.Fail(slacktest.Fault{Method: "conversations.info", Stage: slacktest.Before})
		set("#session-alerts", "ana", "retry", false, "500")
	})
}
