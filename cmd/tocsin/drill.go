package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// drillCmd tells people by every contact at once.
type drillCmd struct {
	clientFlags
	User    []string      `help:"Drill this user; may be given more than once. Default: everybody who can be reached." placeholder:"ana"`
	All     bool          `help:"Drill everybody who can be reached, and say so."`
	Daytime bool          `help:"Leave alone whoever is not in their daytime."`
	Wait    time.Duration `default:"10m" help:"How long to wait for the drills to end; 0 returns at once. A drill ends when each contact was answered or has failed, after 10 minutes at most."`
	As      string        `env:"TOCSIN_USER" help:"Who asks for it. Default: your login name."`
	JSON    bool          `name:"json" help:"The same as -o json."`
}

// drilled is a drill as the API shows it.
type drilled struct {
	Number   int64                 `json:"number"`
	Drilled  string                `json:"drilled"`
	EndedAt  time.Time             `json:"ended_at"`
	Contacts []oncall.ContactCheck `json:"contacts"`
}

// Run begins drills, waits for them, and shows what each contact did. It fails where one failed.
func (dc drillCmd) Run(ctx context.Context, s streams) error {
	if dc.All && len(dc.User) > 0 {
		return &failure{exitUsage, fmt.Errorf("--all and --user exclude each other")}
	}
	c, err := dc.client()
	if err != nil {
		return err
	}
	body := map[string]any{"daytime": dc.Daytime}
	if who := c.actor(dc.As); who != "" {
		body["user"] = who
	}
	if len(dc.User) > 0 {
		body["users"] = dc.User
	}
	var begun struct{ Drills []notifier.DrillStarted }
	c.request = rand.Text()
	if _, err := c.do(ctx, http.MethodPost, "drills", nil, body, &begun); err != nil {
		return err
	}
	c.request = ""
	refused := 0
	for _, x := range begun.Drills {
		if x.Refused != "" {
			refused++
			fmt.Fprintf(s.Err, "%s: not drilled: %s\n", printable(x.User), printable(x.Refused))
		}
	}
	drills, raw, err := dc.await(ctx, c, begun.Drills)
	if err != nil {
		return err
	}
	if dc.JSON || dc.Output == "json" {
		all, err := json.Marshal(raw)
		if err == nil {
			err = printJSON(s.Out, all)
		}
		if err != nil {
			return err
		}
	} else if err := printDrills(s.Out, drills); err != nil {
		return err
	}
	failed, of := 0, 0
	for _, d := range drills {
		for _, x := range d.Contacts {
			of++
			if x.Result == oncall.CheckFailed || x.Refused {
				failed++
			}
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d of %d contacts failed", failed, of)
	case refused > 0:
		return fmt.Errorf("%d of %d users were not drilled", refused, len(begun.Drills))
	}
	return nil
}

// drillPoll is how often a drill under way is asked for.
const drillPoll = time.Second

// await returns the drills once all have ended, or as they are when nobody waits any longer.
func (dc drillCmd) await(ctx context.Context, c *client, begun []notifier.DrillStarted) (all []drilled, raw []json.RawMessage, err error) {
	deadline := time.Now().Add(dc.Wait)
	tick := time.NewTicker(drillPoll)
	defer tick.Stop()
	for {
		all, raw = nil, []json.RawMessage{}
		over := true
		for _, x := range begun {
			if x.Number == 0 {
				continue
			}
			var d drilled
			answer, err := c.do(ctx, http.MethodGet, "drills/"+strconv.FormatInt(x.Number, 10), nil, nil, &d)
			if err != nil {
				return nil, nil, err
			}
			all, raw = append(all, d), append(raw, answer)
			over = over && !d.EndedAt.IsZero()
		}
		if over || !time.Now().Before(deadline) {
			return all, raw, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("interrupted; the drills go on: GET /api/tocsin/v1/drills shows them")
		case <-tick.C:
		}
	}
}

func printDrills(out io.Writer, all []drilled) error {
	w := tabwriter.NewWriter(out, 2, 8, 2, ' ', 0)
	fmt.Fprintln(w, "DRILL\tUSER\tCONTACT\tENDPOINT\tRESULT\tACCEPTED\tCONFIRMED\tANSWERED\tERROR")
	for _, d := range all {
		for _, x := range d.Contacts {
			confirmed := after(x.At, x.ConfirmedAt)
			if x.Taken && x.ConfirmedAt.IsZero() {
				confirmed = "at once"
			}
			fmt.Fprintf(w, "#%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Number, printable(x.User), printable(x.Contact), printable(string(x.Endpoint)),
				resultText(x), after(x.At, x.AcceptedAt), confirmed, after(x.At, x.AnsweredAt), printable(x.Failure))
		}
	}
	return w.Flush()
}

func resultText(c oncall.ContactCheck) string {
	switch {
	case c.Refused:
		return string(oncall.CheckFailed)
	case c.Result == "" && c.Taken:
		return "arrived"
	case c.Result == "":
		return "waiting"
	}
	return string(c.Result)
}

func after(from, at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.Sub(from).Round(time.Millisecond).String()
}

// failedContacts asks for the contacts that failed in their last drill.
func (c *client) failedContacts(ctx context.Context) ([]oncall.ContactCheck, error) {
	var all []oncall.ContactCheck
	_, err := c.do(ctx, http.MethodGet, "contacts", nil, nil, &all)
	return slices.DeleteFunc(all, func(x oncall.ContactCheck) bool { return x.Result != oncall.CheckFailed }), err
}

// footnotes marks users below a listing whose contacts failed in their last drill.
func (c *client) footnotes(ctx context.Context, out io.Writer, users ...string) error {
	if len(users) == 0 {
		return nil
	}
	failed, err := c.failedContacts(ctx)
	for _, x := range failed {
		if slices.Contains(users, x.User) {
			fmt.Fprintln(out, "! "+printable(x.String()))
		}
	}
	return err
}

// usersOf are those who are on call, or next, in a listing.
func usersOf(views []rotaView) (users []string) {
	for _, v := range views {
		users = append(users, v.OnCall.Users...)
		if v.Next != nil {
			users = append(users, v.Next.Users...)
		}
	}
	return users
}
