package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"tocsin/notifier"
	"tocsin/oncall"
)

// deliveryCmd is the commands about what was sent.
type deliveryCmd struct {
	List   deliveryListCmd   `cmd:"" help:"List what was sent for incidents, newest first."`
	Show   deliveryShowCmd   `cmd:"" help:"Show one delivery: each attempt with what was asked and answered, and the body."`
	Resend deliveryResendCmd `cmd:"" help:"Send a delivery again that has come to an end, as a new one."`
}

// receiverCmd is the commands about receivers and their endpoints.
type receiverCmd struct {
	Test receiverTestCmd `cmd:"" help:"Send a marked test page to all endpoints of a receiver, and show what they answer. It leaves no incident."`
	List receiverListCmd `cmd:"" help:"List the endpoints: what waits, how they answered, whether they are asked at all."`
}

type deliveryListCmd struct {
	clientFlags
	Incident string   `help:"Only of this incident." placeholder:"42"`
	Endpoint string   `help:"Only to this endpoint." placeholder:"page:ana-phone/0"`
	State    []string `help:"Only in these states: queued, sending, accepted, delivered, refused, dropped." placeholder:"STATE"`
	Limit    int      `default:"50" help:"At most so many."`
	Before   string   `help:"Only older ones than the delivery of this key." placeholder:"KEY"`
}

// Run prints the log.
func (l deliveryListCmd) Run(ctx context.Context, s streams) error {
	c, err := l.client()
	if err != nil {
		return err
	}
	q := url.Values{"limit": {strconv.Itoa(l.Limit)}}
	for key, v := range map[string]string{"incident": l.Incident, "endpoint": l.Endpoint, "before": l.Before, "state": strings.Join(l.State, ",")} {
		if v != "" {
			q.Set(key, v)
		}
	}
	var list []oncall.Delivery
	answer, err := c.do(ctx, http.MethodGet, "deliveries", q, nil, &list)
	if err != nil {
		return err
	}
	if l.Output == "json" {
		return printJSON(s.Out, answer)
	}
	w := tabwriter.NewWriter(s.Out, 2, 8, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tINCIDENT\tWHAT\tENDPOINT\tSTATE\tATTEMPTS\tDECIDED\tLAST SAID")
	for _, d := range list {
		said := d.Error
		if d.Status != 0 {
			said = strings.TrimSuffix(fmt.Sprintf("HTTP %d: %s", d.Status, d.Error), ": ")
		}
		fmt.Fprintf(w, "%s\t#%d\t%s\t%s\t%s\t%d\t%s\t%s\n", d.Key, d.Incident, d.Kind, d.Endpoint, d.State, d.Attempts, d.CreatedAt.UTC().Format(time.DateTime), said)
	}
	return w.Flush()
}

type deliveryShowCmd struct {
	clientFlags
	Key string `arg:"" help:"The delivery's key, msg_…."`
}

// Run prints one delivery.
func (d deliveryShowCmd) Run(ctx context.Context, s streams) error {
	c, err := d.client()
	if err != nil {
		return err
	}
	var v struct {
		oncall.Delivery
		Body     json.RawMessage  `json:"body"`
		Attempts []oncall.Attempt `json:"attempts"`
	}
	answer, err := c.do(ctx, http.MethodGet, "deliveries/"+url.PathEscape(d.Key), nil, nil, &v)
	if err != nil {
		return err
	}
	if d.Output == "json" {
		return printJSON(s.Out, answer)
	}
	fmt.Fprintf(s.Out, "%s: %s to %s (%s), incident #%d\n", v.Key, v.Kind, v.Endpoint, v.State, v.Incident)
	if len(v.Attempts) == 0 && v.Error != "" {
		fmt.Fprintln(s.Out, "  "+v.Error)
	}
	printAttempts(s.Out, v.Attempts)
	if len(v.Body) > 0 {
		fmt.Fprintln(s.Out, "\nbody:")
		return printJSON(s.Out, v.Body)
	}
	return nil
}

// printAttempts prints attempts with what was asked.
func printAttempts(w io.Writer, attempts []oncall.Attempt) {
	for _, a := range attempts {
		line := fmt.Sprintf("  %d. %s  %s", a.Number, a.At.UTC().Format("15:04:05.000"), a.Outcome)
		if a.Status != 0 {
			line += fmt.Sprintf(", HTTP %d", a.Status)
		}
		line += ", " + a.Took.Round(time.Millisecond).String()
		if a.Error != "" {
			line += ": " + a.Error
		}
		fmt.Fprintln(w, line)
		if a.Excerpt != "" {
			fmt.Fprintln(w, "     answered "+a.Excerpt)
		}
		if a.Sent != nil {
			fmt.Fprintln(w, "     asked "+a.Sent.Method+" "+a.Sent.URL)
		}
	}
}

type deliveryResendCmd struct {
	clientFlags
	Key  string `arg:"" help:"The delivery's key, msg_…."`
	User string `env:"TOCSIN_USER" help:"Who acts. Default: your login name."`
}

// Run sends a delivery again and says how.
func (d deliveryResendCmd) Run(ctx context.Context, s streams) error {
	c, err := d.client()
	if err != nil {
		return err
	}
	var done struct{ Key, Reply string }
	answer, err := c.do(ctx, http.MethodPost, "deliveries/"+url.PathEscape(d.Key)+"/resend", nil, actorBody(c.actor(d.User)), &done)
	if err != nil {
		return err
	}
	if d.Output == "json" {
		return printJSON(s.Out, answer)
	}
	fmt.Fprintln(s.Out, done.Reply)
	return nil
}

// actorBody is the body of a request that only says who acts; nothing where the server knows.
func actorBody(who string) map[string]string {
	if who == "" {
		return map[string]string{}
	}
	return map[string]string{"user": who}
}

type receiverTestCmd struct {
	clientFlags
	Name string `arg:"" help:"The receiver."`
	Note string `help:"One line for whoever gets it." placeholder:"TEXT"`
	User string `env:"TOCSIN_USER" help:"Who sends it. Default: your login name."`
}

// Run sends a test page. It fails where an endpoint did not take it.
func (r receiverTestCmd) Run(ctx context.Context, s streams) error {
	r.Timeout = max(r.Timeout, time.Minute) // the server asks again, as for a real page
	c, err := r.client()
	if err != nil {
		return err
	}
	body := actorBody(c.actor(r.User))
	if r.Note != "" {
		body["note"] = r.Note
	}
	var v struct{ Results []notifier.Tested }
	answer, err := c.do(ctx, http.MethodPost, "receivers/"+url.PathEscape(r.Name)+"/test", nil, body, &v)
	if err != nil {
		return err
	}
	failed := 0
	for _, t := range v.Results {
		if t.State != string(oncall.OutcomeDelivered) && t.State != string(oncall.OutcomeAccepted) {
			failed++
		}
	}
	if r.Output == "json" {
		err = printJSON(s.Out, answer)
	} else {
		for _, t := range v.Results {
			fmt.Fprintf(s.Out, "%s: %s\n", t.Endpoint, t.State)
			printAttempts(s.Out, t.Attempts)
		}
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("the test page was not taken by %d of %d endpoints", failed, len(v.Results))
	}
	return err
}

type receiverListCmd struct{ clientFlags }

// Run prints the state of the endpoints.
func (r receiverListCmd) Run(ctx context.Context, s streams) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	var list []notifier.EndpointView
	answer, err := c.do(ctx, http.MethodGet, "endpoints", nil, nil, &list)
	if err != nil {
		return err
	}
	if r.Output == "json" {
		return printJSON(s.Out, answer)
	}
	w := tabwriter.NewWriter(s.Out, 2, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ENDPOINT\tSTATE\tWAITING\tLAST DELIVERED\tTROUBLE")
	for _, e := range list {
		last := "never"
		if !e.LastSuccess.IsZero() {
			last = e.LastSuccess.UTC().Format(time.DateTime)
		}
		trouble := e.Warning
		if trouble == "" {
			trouble = e.CircuitWhy
		}
		if trouble == "" && e.LastFailure.After(e.LastSuccess) {
			trouble = e.Failure
		}
		if !e.HeldUntil.IsZero() {
			trouble = strings.TrimSpace(trouble + " (held until " + e.HeldUntil.UTC().Format(time.TimeOnly) + ")")
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", e.Endpoint, e.Circuit, e.Waiting+e.InFlight, last, trouble)
	}
	return w.Flush()
}
