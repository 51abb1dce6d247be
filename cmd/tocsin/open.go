package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"tocsin/oncall"
)

// openCmd opens an incident by hand.
type openCmd struct {
	clientFlags
	User       string `name:"user" env:"TOCSIN_USER" help:"Who acts, where the server authenticates nobody. Default: your login name."`
	Escalation string `name:"escalation" short:"e" placeholder:"NAME" help:"The escalation to tell."`
	Page       string `name:"page" short:"p" placeholder:"USER" help:"The user to page instead, by name."`
	Title      string `name:"title" short:"t" required:"" placeholder:"TEXT" help:"What is wrong, in one line: it is what they read first."`
	Details    string `name:"details" placeholder:"TEXT" help:"More of it."`
	Severity   string `name:"severity" default:"critical" help:"Severity. Default: critical."`
	Request    string `name:"request" placeholder:"ID" help:"Identity of this request: repeated within a day, it opens no second incident. Default: a new one."`
}

// Run opens an incident and prints what became of it.
func (o openCmd) Run(ctx context.Context, s streams) error {
	if (o.Escalation == "") == (o.Page == "") {
		return &failure{exitUsage, errors.New("say who is to be told: --escalation NAME or --page USER")}
	}
	c, err := o.client()
	if err != nil {
		return err
	}
	if c.request = o.Request; c.request == "" {
		c.request = rand.Text()
	}
	body := map[string]string{"title": o.Title, "severity": o.Severity}
	for field, value := range map[string]string{"escalation": o.Escalation, "page": o.Page, "details": o.Details, "user": c.actor(o.User)} {
		if value != "" {
			body[field] = value
		}
	}
	var done struct {
		oncall.IncidentView
		Reply string `json:"reply"`
	}
	answer, err := c.do(ctx, "POST", "incidents", nil, body, &done)
	if err != nil {
		return err
	}
	if o.Output == "json" {
		return printJSON(s.Out, answer)
	}
	fmt.Fprintln(s.Out, strings.TrimSpace(printable(done.Reply)+". "+done.URL))
	return nil
}
