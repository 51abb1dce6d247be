package oncall_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/oncall"
)

var update = flag.Bool("update", false, "rewrite the golden transcripts")

// TestTranscripts runs every testdata/*.txt: lines that start with "> " are input, what follows is what the
// machine does. The first word of the file after "escalation " names the policy.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replayTranscript(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("transcript differs (-want +got); -update rewrites it:\n%s", diff)
			}
		})
	}
}

func replayTranscript(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	s := newSim(testPolicy(), "session")
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case strings.HasPrefix(line, "#"):
			out.WriteString(line + "\n")
		case strings.HasPrefix(line, "> "):
			s.out.Reset()
			runLine(t, s, strings.Fields(line[2:]))
			out.WriteString("\n" + line + "\n" + s.out.String())
			if in := s.subject(); in != nil {
				out.WriteString("  = #" + stateLine(in) + "\n")
			}
		}
		if s.problem != "" {
			t.Fatalf("at %q: %s", line, s.problem)
		}
	}
	return out.String()
}

func stateLine(in *oncall.Incident) string {
	line := string('0'+rune(in.Number)) + " " + string(in.State)
	if !in.NextAt.IsZero() {
		line += ", next at " + in.NextAt.Format("15:04:05")
	}
	switch {
	case in.Next != "" && in.NextStepAt.IsZero():
		line += ", " + in.Next
	case in.Next != "":
		line += ", at " + in.NextStepAt.Format("15:04:05") + " " + in.Next
	}
	return line
}

// runLine does one input: escalation NAME · fire|mute|resolve|unknown|known NAME INSTANCE [SEVERITY] ·
// advance D · down D · ack|unack|close USER · escalate USER [ROUND TIER] · snooze USER D · note USER TEXT ·
// assign USER USER · add USER USER · merge USER NUMBER · until USER MATCHER [D] · on NUMBER (whom it is about) ·
// from ENDPOINT, via NAME, ago D (before what somebody did there, and when; itself: what nobody did in person) · edit NAME (of edits) · noted USER TEXT · deliver|refuse|fail|accept|confirm|busy ENDPOINT|KIND|all
// bar (refused until a person mends that) ENDPOINT|KIND|all · mended ENDPOINT
// (accept: taken, and confirm or busy is what is reported of it).
func runLine(t *testing.T, s *sim, f []string) {
	t.Helper()
	arg := func(i int, def string) string {
		if i < len(f) {
			return f[i]
		}
		return def
	}
	status := map[string]oncall.ChangeStatus{"fire": oncall.ChangeFiring, "resolve": oncall.ChangeResolved, "unknown": oncall.ChangeUnknown, "known": oncall.ChangeKnown, "mute": oncall.ChangeMuted}
	outcome := map[string]oncall.Outcome{"deliver": oncall.OutcomeDelivered, "refuse": oncall.OutcomeRefused, "fail": oncall.OutcomeRetry, "accept": oncall.OutcomeAccepted, "bar": barred}
	code := map[string]int{"deliver": 200, "refuse": 404, "fail": 503, "accept": 201}
	var by oncall.Command // how it came
	for ; f[0] == "from" || f[0] == "via" || f[0] == "ago" || f[0] == "itself"; f = f[1:] {
		switch f[0] {
		case "itself":
			by.ByItself = true
			continue
		case "via":
			by.Via = f[1]
		case "ago":
			by.At = s.now.Add(-durationOf(t, f[1]))
		default:
			by.From = oncall.Endpoint(f[1])
		}
		f = f[1:]
	}
	cmd := by
	cmd.Actor = arg(1, "")
	switch f[0] {
	case "escalation":
		s.escName = f[1]
		return
	case "on":
		s.chosen = int(f[1][0] - '0')
		return
	case "edit":
		edit := edits[f[1]]
		if edit == nil {
			t.Fatalf("%v: there is no such edit", f)
		}
		s.edit(edit)
		return
	case "fire", "resolve", "unknown", "known", "mute":
		s.change(alert(status[f[0]], s.escName, f[1], f[2], arg(3, "critical")))
		return
	case "open", "page": // open USER ESCALATION TITLE · page USER USER TITLE
		o := oncall.Opening{Actor: f[1], Title: strings.Join(f[3:], " "), Via: "slack", Escalation: f[2]}
		if f[0] == "page" {
			o.User, o.Escalation = f[2], ""
		}
		c, _, err := o.Open(s.now, strings.Join(f, " "), s.policy)
		if err != nil {
			t.Fatalf("%v: %v", f, err)
		}
		s.change(c)
		return
	case "noted":
		s.apply(s.subject(), oncall.Noted{Kind: oncall.EntrySilenced, Actor: f[1], Text: strings.Join(f[2:], " "), Reply: "Silenced by " + f[1]})
		return
	case "confirm", "busy":
		s.report(oncall.Endpoint(f[1]), f[0] == "confirm")
		return
	case "mended":
		s.apply(s.subject(), oncall.Mended{Endpoint: oncall.Endpoint(f[1])})
		return
	case "deliver", "refuse", "fail", "accept", "bar":
		s.finish(func(d oncall.Delivery) bool {
			return f[1] == "all" || string(d.Endpoint) == f[1] || string(d.Kind) == f[1]
		}, outcome[f[0]], code[f[0]])
		return
	case "advance":
		s.advance(durationOf(t, f[1]))
		return
	case "down": // the process is not running
		s.now = s.now.Add(durationOf(t, f[1]))
		s.tick()
		return
	}
	s.apply(s.subject(), commandOf(t, s.now, f, cmd))
}

// commandOf completes the command of a line.
func commandOf(t *testing.T, now time.Time, f []string, cmd oncall.Command) oncall.Command {
	t.Helper()
	switch f[0] {
	case "ack":
		cmd.Kind = oncall.CmdAcknowledge
	case "unack":
		cmd.Kind = oncall.CmdUnacknowledge
	case "close":
		cmd.Kind = oncall.CmdResolve
	case "escalate":
		cmd.Kind = oncall.CmdEscalate
		if len(f) == 4 {
			cmd.Seen = &oncall.Seen{Round: int(f[2][0] - '0'), Tier: int(f[3][0] - '0')}
		}
	case "snooze":
		cmd.Kind, cmd.Until = oncall.CmdSnooze, now.Add(durationOf(t, f[2]))
	case "note":
		cmd.Kind, cmd.Text = oncall.CmdNote, strings.Join(f[2:], " ")
	case "add":
		cmd.Kind, cmd.User = oncall.CmdAddResponder, f[2]
	case "merge":
		cmd.Kind, cmd.Into = oncall.CmdMerge, int64(f[2][0]-'0')
	case "until":
		ms, err := oncall.ParseMatchers(f[2], oncall.MatchersFallback)
		if err != nil {
			t.Fatalf("%v: %v", f, err)
		}
		cmd.Kind, cmd.UntilClear = oncall.CmdSnooze, ms
		if len(f) > 3 {
			cmd.Until = now.Add(durationOf(t, f[3]))
		}
	case "assign":
		cmd.Kind, cmd.User = oncall.CmdAssign, f[2]
	default:
		t.Fatalf("unknown input %q", f)
	}
	return cmd
}

func durationOf(t *testing.T, v string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(v)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
