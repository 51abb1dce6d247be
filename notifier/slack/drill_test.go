package slack

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"tocsin/notifier"
	"tocsin/oncall"
)

// drills remembers who was to be drilled.
type drills struct {
	asked  []string
	answer notifier.DrillStarted
	err    error
}

func (d *drills) Start(_ context.Context, w notifier.DrillWish, request string) ([]notifier.DrillStarted, error) {
	if request == "" {
		return nil, oncall.Errorf(oncall.CodeInvalid, "a drill from Slack has an identity")
	}
	d.asked = append(d.asked, fmt.Sprint(w.Users, " by ", w.Actor, " via ", w.Via))
	d.answer.User = w.Users[0]
	return []notifier.DrillStarted{d.answer}, d.err
}

// TestDrill begins drills: of oneself, of others, of nobody on a guess, and never by somebody who may not act.
func TestDrill(t *testing.T) {
	began := notifier.DrillStarted{Number: 9}
	for name, c := range map[string]struct {
		typed, by string
		answer    notifier.DrillStarted
		err       error
		want      string
		asked     string
	}{
		"oneself":   {"drill", "U02ANA", began, nil, "The drill #9 of ana has begun", "[ana] by ana via slack"},
		"another":   {"drill @bo", "U02ANA", began, nil, "The drill #9 of bo has begun", "[bo] by ana via slack"},
		"escaped":   {"drill <@U03BO|bobby>", "U02ANA", began, nil, "#9 of bo", "[bo] by ana via slack"},
		"misspelt":  {"drill @anna", "U02ANA", began, nil, "Nobody was drilled: `anna` is no user of tocsin. Did you mean \"ana\"?", ""},
		"two":       {"drill ana bo", "U02ANA", began, nil, "One user at a time", ""},
		"not now":   {"drill", "U02ANA", notifier.DrillStarted{Refused: "a drill of ana is under way: #8 <!here>"}, nil, "Nobody was drilled: a drill of ana is under way: #8 &lt;!here&gt;.", "[ana] by ana via slack"},
		"no user":   {"drill", "U77", began, nil, "not", ""},
		"too early": {"drill", "U02ANA", began, oncall.Errorf(oncall.CodeInvalid, "nobody can be reached"), "Nobody was drilled: nobody can be reached.", "[ana] by ana via slack"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &drills{answer: c.answer, err: c.err}
				w := newWorkspace(t, newActs(), nil)
				w.drills = d
				a, err := w.slack.Command(t.Context(), tocsinURL, c.typed, c.by)
				if err != nil || !strings.Contains(a.Text, c.want) || strings.Contains(a.Text, "<!") {
					t.Errorf("answered %q, %v", a.Text, err)
				}
				if got := strings.Join(d.asked, "; "); got != c.asked {
					t.Errorf("asked %q", got)
				}
			})
		})
	}
}
