package slack

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/notifier/slack/slacktest"
	"tocsin/oncall"
)

// two open incidents that nobody in particular was told of.
func two() []oncall.Incident {
	return []oncall.Incident{open(41, t0, fire(1, t0)), open(42, t0, fire(2, t0))}
}

// told says that one of them went to a user.
func told(ins []oncall.Incident, i int, user string) []oncall.Incident {
	ins[i].Told = append(ins[i].Told, oncall.Told{Endpoint: oncall.PageEndpoint(user+"-phone", 0), Target: "user " + user, User: user})
	return ins
}

// commandCases is what ana types, and what follows.
var commandCases = map[string]struct {
	incidents []oncall.Incident
	typed     []string // one after the other; the last one's answer counts
	want      []string // all must be in the answer
	done      string   // kind and actor of the last command that was committed
}{
	"help":               {two(), []string{"help"}, []string{"*Have it* · `ack [#n]`", "42 or INC-42", "`/tocsin help ack`"}, ""},
	"help on one":        {two(), []string{"help Acknowledge"}, []string{"`/tocsin ack [#n]`: you have it", "the one incident that waits for you", "Also: `acked`, `acknowledge`"}, ""},
	"help on nothing":    {two(), []string{"help snoze"}, []string{"There is no `/tocsin snoze`", "`/tocsin snooze`"}, ""},
	"nothing":            {two(), []string{"  "}, []string{"*Have it* · `ack [#n]`"}, ""},
	"list":               {two(), []string{" LIST "}, []string{"2 incidents are open", "*#42*", "*#41*", "triggered", "critical"}, ""},
	"list none":          {nil, []string{"list"}, []string{"No incident is open"}, ""},
	"ack number":         {two(), []string{"ack #42"}, []string{"#42 is acknowledged by ana"}, "acknowledge ana"},
	"ack plain":          {two(), []string{"ACK   42 "}, []string{"#42 is acknowledged by ana"}, "acknowledge ana"},
	"ack inc":            {two(), []string{"Acknowledge inc-42"}, []string{"#42 is acknowledged by ana"}, "acknowledge ana"},
	"ack with words":     {two(), []string{"ack #42 on my way, *soon*"}, []string{"#42 is acknowledged by ana", "Your note was added"}, "note ana"},
	"resolve with words": {two(), []string{"resolve 42 fixed it"}, []string{"#42 is resolved by ana", "Your note was added"}, "note ana"},
	"ack for a time":     {two(), []string{"ack 42 2h"}, []string{"What is `2h`?"}, ""},
	"ack missing, words": {two(), []string{"ack 99 on it"}, []string{"there is no incident #99", "Your note was not added"}, ""},
	"ack again":          {two(), []string{"ack 42", "ack 42"}, []string{"already acknowledged by ana"}, "acknowledge ana"},
	"ack which":          {two(), []string{"ack"}, []string{"Which one? 2 incidents", "*#41*", "*#42*", "nothing was changed"}, ""},
	"ack mine":           {told(two(), 0, "ana"), []string{"ack"}, []string{"#41 is acknowledged by ana"}, "acknowledge ana"},
	"ack not mine":       {told(two(), 0, "bo"), []string{"ack"}, []string{"Which one?"}, ""},
	"ack only one":       {two()[:1], []string{"ack"}, []string{"#41 is acknowledged"}, "acknowledge ana"},
	"ack none":           {two()[:1], []string{"ack", "ack"}, []string{"No incident waits"}, "acknowledge ana"},
	"ack nonsense":       {two()[:1], []string{"ack everything"}, []string{"`everything` is no incident", "ack [#n]"}, ""},
	"ack two":            {two(), []string{"ack 41 42"}, []string{"What is `42`?"}, ""},
	"ack zero":           {two(), []string{"ack 0"}, []string{"is no incident"}, ""},
	"ack missing":        {two(), []string{"ack 99"}, []string{"Nothing was changed: there is no incident #99."}, ""},
	"unack":              {two(), []string{"ack 42", "unack"}, []string{"#42 is triggered again"}, "unacknowledge ana"},
	"resolve":            {two(), []string{"resolve #41"}, []string{"#41 is resolved by ana", "still firing"}, "resolve ana"},
	"resolve the acked":  {two(), []string{"ack 41", "resolve"}, []string{"#41 is resolved by ana"}, "resolve ana"},
	"why":                {two(), []string{"why 42"}, []string{"```\n#42 went to session-oncall", "ˋcodeˋ &lt;!channel&gt;", "<https://tocsin.example/incidents/42|"}, ""},
	"why which":          {two(), []string{"why"}, []string{"Which one?"}, ""},
	"why missing":        {two(), []string{"why 7"}, []string{"there is no incident #7"}, ""},
	"escalate":           {two(), []string{"escalate 42"}, []string{"#42"}, "escalate ana"},
	"escalate what":      {two(), []string{"escalate"}, []string{"Which incident?", "escalate #n"}, ""},
	"note":               {two(), []string{"note #42 It was  <@U03BO|bo> &amp; <https://x.example|x>"}, []string{"#42"}, "note ana"},
	"assign escaped":     {two(), []string{"assign 42 <@U03BO|bobby>"}, []string{"bo"}, "assign ana"},
	"assign plain":       {two(), []string{"assign 42 to @Bo"}, []string{"bo"}, "assign ana"},
	"assign me":          {two(), []string{"assign 42 me"}, []string{"ana"}, "assign ana"},
	"assign nobody":      {two(), []string{"assign 42 @carla"}, []string{"`carla` is no user"}, ""},
	"assign typo":        {two(), []string{"assign 42 @anna"}, []string{"`anna` is no user", "ana"}, ""},
	"assign backwards":   {two(), []string{"assign @bo 42"}, []string{"#42 is assigned to bo"}, "assign ana"},
	"assign two":         {two(), []string{"assign 42 @bo @ana"}, []string{"One person at a time"}, ""},
	"assign whom":        {two(), []string{"assign 42"}, []string{"Whom?", "assign #n @user"}, ""},
	"assign what":        {two(), []string{"assign @bo"}, []string{"`@bo` is no incident"}, ""},
	"add":                {two(), []string{"add #42 @bo"}, []string{"bo is told of #42 now"}, "add ana"},
	"add backwards":      {two(), []string{"add <@U03BO|bobby> to INC-42"}, []string{"bo is told of #42 now"}, "add ana"},
	"add again":          {two(), []string{"add 42 bo", "add 42 bo"}, []string{"bo was already asked"}, "add ana"},
	"merge":              {two(), []string{"merge #41 into #42"}, []string{"#41 is merged into #42"}, "merge ana"},
	"merge short":        {two(), []string{"merge 41 42"}, []string{"#41 is merged into #42"}, "merge ana"},
	"merge last":         {two(), []string{"merge 41 into last"}, []string{"#41 is merged into #42"}, "merge ana"},
	"merge itself":       {two(), []string{"merge 41 into 41"}, []string{"cannot be merged into itself"}, ""},
	"merge into what":    {two(), []string{"merge 41"}, []string{"Which incident into which?", "merge #n into #m"}, ""},
	"merge nonsense":     {two(), []string{"merge 41 into everything"}, []string{"`everything` is no incident"}, ""},
	"last":               {two(), []string{"ack last"}, []string{"#42 is acknowledged by ana"}, "acknowledge ana"},
	"last for me":        {told(two(), 0, "ana"), []string{"ack #last"}, []string{"#41 is acknowledged by ana"}, "acknowledge ana"},
	"last of none":       {two()[:1], []string{"ack 41", "ack last"}, []string{"No incident waits"}, "acknowledge ana"},
	"why last, ended":    {two()[:1], []string{"resolve 41", "why last"}, []string{"#41 went to session-oncall"}, "resolve ana"},
	"note last, ended":   {two()[:1], []string{"resolve 41", "note last it was the cache"}, []string{"noted on #41"}, "note ana"},
	"list mine":          {told(two(), 0, "ana"), []string{"list mine"}, []string{"1 incident for you is open", "*#41*"}, ""},
	"list mine, none":    {two(), []string{"list mine"}, []string{"No incident for you is open."}, ""},
	"list acked":         {two(), []string{"ack 41", "list acked"}, []string{"1 incident is acknowledged", "*#41*"}, "acknowledge ana"},
	"list all":           {two(), []string{"resolve 41", "list all"}, []string{"There are 2 incidents", "*#41* resolved by ana"}, "resolve ana"},
	"list matching":      {two(), []string{"list instance=session-2:9100"}, []string{"1 incident with `{instance=\"session-2:9100\"}` is open", "*#42*"}, ""},
	"list curled":        {two(), []string{"list {service=~“sess.*”} all"}, []string{"There are 2 incidents with"}, ""},
	"list none such":     {two(), []string{"list service=cart"}, []string{"No incident with `{service=\"cart\"}` is open."}, ""},
	"list what":          {two(), []string{"list everything"}, []string{"What is `everything`?", "list [mine|all|service=x]"}, ""},
	"list brace":         {two(), []string{"list {service=x"}, []string{"The braces do not close"}, ""},
	"assign stranger":    {two(), []string{"assign 42 <@U77>"}, []string{"is no user"}, ""},
	"snooze":             {two(), []string{"snooze 42 30m"}, []string{"#42"}, "snooze ana"},
	"snooze until":       {two(), []string{"snooze 42 until 9:00"}, []string{"#42 is snoozed until 2000-01-01 09:00 UTC"}, "snooze ana"},
	"snooze tomorrow":    {two(), []string{"snooze last tomorrow"}, []string{"#42 is snoozed until 2000-01-02 09:00 UTC"}, "snooze ana"},
	"snooze until clear": {two(), []string{"snooze 42 until clear"}, []string{"no firing alert matches {service=\"session\"}"}, "snooze ana"},
	"snooze for one":     {two(), []string{"snooze 42 until it clears instance=session-1:9100"}, []string{"matches {instance=\"session-1:9100\"}"}, "snooze ana"},
	"snooze for other":   {two(), []string{"snooze 42 until clear service=cart"}, []string{"no firing alert of #42 matches"}, ""},
	"snooze when":        {two(), []string{"snooze 42 until it works"}, []string{"Until when?"}, ""},
	"snooze and more":    {two(), []string{"snooze 42 2h because"}, []string{"Write for how long"}, ""},
	"snooze how long":    {two(), []string{"snooze 42"}, []string{"For how long?"}, ""},
	"snooze for ever":    {two(), []string{"snooze 42 1y"}, []string{"at most 30d"}, ""},
	"typed twice":        {two(), []string{"/tocsin ack 42", "/TOCSIN why 42"}, []string{"#42"}, "acknowledge ana"},
	"its opposite":       {two(), []string{"help unsnooze"}, []string{"`/tocsin unack [#n]`"}, ""},
	"silence by name":    {two(), []string{"silence HighLatency 2h deploying"}, []string{"`HighLatency` is no incident", "`/tocsin silence alertname=HighLatency 2h why`"}, ""},
	"typo":               {two(), []string{"akc 42"}, []string{"There is no `/tocsin akc`", "Did you mean `/tocsin ack`?"}, ""},
	"nonsense":           {two(), []string{"<!channel> frobnicate"}, []string{"There is no `/tocsin &lt;!channel&gt;`", "/tocsin help"}, ""},
}

func TestCommands(t *testing.T) {
	for name, c := range commandCases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorkspace(t, newActs(c.incidents...), nil)
				var a slacktest.Answer
				for _, text := range c.typed {
					var err error
					if a, err = w.slack.Command(t.Context(), tocsinURL, text, "U02ANA"); err != nil || a.Status != http.StatusOK {
						t.Fatalf("%q: %+v, %v", text, a, err)
					}
				}
				for _, want := range c.want {
					if !strings.Contains(a.Text, want) {
						t.Errorf("%q is not in the answer:\n%s", want, a.Text)
					}
				}
				if !strings.Contains(a.Body, `"response_type":"ephemeral"`) {
					t.Errorf("the answer is not private: %s", a.Body)
				}
				last := ""
				if done := w.acts.committed(); len(done) > 0 {
					d := done[len(done)-1]
					last = string(d.Kind) + " " + d.Actor
				}
				if last != c.done {
					t.Errorf("committed %q, not %q; the answer was:\n%s", last, c.done, a.Text)
				}
			})
		})
	}
}

func TestCommandReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		w := newWorkspace(t, newActs(open(41, now, fire(1, now))), nil)
		first, err := w.slack.Command(t.Context(), tocsinURL, "ack", "U02ANA")
		if err != nil || !strings.Contains(first.Text, "#41 is acknowledged by ana") {
			t.Fatalf("%+v, %v", first, err)
		}
		again, err := w.slack.Send(t.Context(), first.Request)
		if err != nil || again.Status != http.StatusOK || !strings.Contains(again.Body, "No incident waits") {
			t.Errorf("%+v, %v", again, err)
		}
		// By now another one waits. The old request must not reach it.
		w.acts.mu.Lock()
		w.acts.incidents[42] = open(42, now, fire(1, now))
		w.acts.mu.Unlock()
		again, err = w.slack.Send(t.Context(), first.Request)
		if err != nil || again.Status != http.StatusOK || !strings.Contains(again.Body, "done before") {
			t.Errorf("%+v, %v", again, err)
		}
		if n := len(w.acts.committed()); n != 1 {
			t.Errorf("%d commands were committed", n)
		}
	})
}

func TestCommandStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkspace(t, newActs(open(41, time.Now(), fire(1, time.Now()))), nil)
		for text, want := range map[string]string{"list": "1 incident is open", "why 41": "#41 went to", "who": "no schedule", "help": "ack [#n]"} {
			a, err := w.slack.Command(t.Context(), tocsinURL, text, "U09EVE")
			if err != nil || !strings.Contains(a.Text, want) {
				t.Errorf("%s: %+v, %v", text, a, err)
			}
		}
		for _, text := range []string{"ack 41", "page ana x", "override x @ana 2h"} {
			a, err := w.slack.Command(t.Context(), tocsinURL, text, "U09EVE")
			if err != nil || !strings.Contains(a.Text, "tocsin does not know you") {
				t.Errorf("%s: %+v, %v", text, a, err)
			}
		}
		if n := len(w.acts.committed()); n != 0 {
			t.Errorf("%d commands were committed", n)
		}
	})
}

func TestCommandNotCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newActs(open(42, time.Now(), fire(1, time.Now())))
		w := newWorkspace(t, a, nil)
		a.hang = true
		got, err := w.slack.Command(t.Context(), tocsinURL, "ack 42", "U02ANA")
		if err != nil || got.Status != http.StatusOK || got.Took != answerTimeout || !strings.Contains(got.Text, "not confirmed") {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "ack #42", "note #1 <@U1|x> &amp;", "snooze 1 30m", "assign 2 @bo", "\x00", "ack <!channel>", "why INC-99999999999999999999",
		"silence 1 2h 30m x", "merge 1 into last", "add @bo to 2", "list mine service=x", "silence {a=\"}\"} 2h x", "snooze 1 until clear a=b", "snooze last until monday",
		"silence #1 every monday", "silence 1 99999999999999999999w x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		typed, complaint := parse(s, "/tocsin", t0)
		if complaint == "" && typed.verb == "" {
			t.Errorf("neither understood nor refused: %+v", typed)
		}
		l := typed.length
		if typed.which.number < 0 || complaint == "" && !l.isZero() && (l.from(t0) <= 0 || l.from(t0) > maxSnooze && typed.verb != "override") {
			t.Errorf("nonsense was understood: %+v", typed)
		}
		v, _ := verbNamed(typed.verb)
		if complaint == "" && v.kind != "" && typed.which == (numbered{}) && !v.optional() {
			t.Errorf("nothing says which incident: %+v", typed)
		}
		if strings.Contains(complaint, "<!") || strings.Contains(complaint, "<@") {
			t.Errorf("the complaint pings: %q", complaint)
		}
	})
}
