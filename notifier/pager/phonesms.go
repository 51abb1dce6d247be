package pager

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tocsin/oncall"
)

// Messages that people write back.

var replyForm = regexp.MustCompile(`^([a-z]+|[46])(?:\s+(?:#|inc-)?(\d{1,12}))?$`)

const replyHelp = `Write "ack 42", "resolve 42" or "escalate 42". "ack" alone takes the one incident that waits for you.`

// parseReply reads a message: what to do, and the incident's number, 0 for the one that waits.
func parseReply(s string) (kind oncall.CommandKind, number int64, ok bool) {
	s = strings.ToLower(strings.Trim(oneLine(strings.ToValidUTF8(s, "")), ` .!"'“”`))
	m := replyForm.FindStringSubmatch(s)
	if m == nil {
		return "", 0, false
	}
	kinds := map[string]oncall.CommandKind{
		"ack": oncall.CmdAcknowledge, "a": oncall.CmdAcknowledge, "acknowledge": oncall.CmdAcknowledge, "acknowledged": oncall.CmdAcknowledge,
		"4": oncall.CmdAcknowledge, "ok": oncall.CmdAcknowledge, "resolve": oncall.CmdResolve, "resolved": oncall.CmdResolve,
		"escalate": oncall.CmdEscalate, "6": oncall.CmdEscalate,
	}
	number, _ = strconv.ParseInt(m[2], 10, 64) // none, or digits that fit
	kind = kinds[m[1]]
	return kind, number, kind != ""
}

// message does what somebody wrote, if their number is one that is paged, and answers them.
func (h *PhoneHooks) message(ctx context.Context, form url.Values) (string, error) {
	answer := func(text string) string { return response("<Message>" + escaped(text) + "</Message>") }
	who, endpoints := h.sender(form.Get("AccountSid"), form.Get("From"))
	if len(endpoints) == 0 {
		return response(""), nil // nobody that is known here: no answer, and no costs
	}
	kind, number, ok := parseReply(form.Get("Body"))
	if !ok {
		return answer(replyHelp), nil
	}
	open, err := h.told(ctx, endpoints)
	if err != nil {
		return answer("That could not be done just now. Please send it again."), err
	}
	if number == 0 {
		waits := slices.DeleteFunc(slices.Clone(open), func(in oncall.Incident) bool { return in.State != oncall.IncidentTriggered })
		switch {
		case len(waits) == 0:
			return answer("No incident waits for you."), nil
		case len(waits) > 1 || kind == oncall.CmdResolve:
			var names []string
			for _, in := range waits[:min(len(waits), 3)] {
				names = append(names, fmt.Sprintf("#%d %s", in.Number, cut(in.Title, 60)))
			}
			return answer(fmt.Sprintf("Which one? %s. %s", strings.Join(names, "; "), replyHelp)), nil
		}
		number = waits[0].Number
	}
	i := slices.IndexFunc(open, func(in oncall.Incident) bool { return in.Number == number })
	if i < 0 {
		return answer(fmt.Sprintf("#%d is not open, or this number was not told of it. Nothing was changed.", number)), nil
	}
	c := oncall.Command{Kind: kind, Actor: who, Via: "SMS"}
	for _, d := range open[i].Deliveries { // the last page that was written to this number is what is answered
		if d.Attempts > 0 && slices.Contains(endpoints, d.Endpoint) && d.Endpoint.Kind() == "sms" {
			c.Delivery = d.Key
		}
	}
	d, err := h.o.Acts.Act(ctx, number, c, "twilio:"+form.Get("MessageSid"))
	if err != nil {
		return answer("That could not be done just now. Please send it again."), err
	}
	return answer(cmp.Or(d.Reply, "done")), nil
}

// sender is whose number it is, and the endpoints that lead there. A number of several people is shown as the number's
// receiver: nobody knows who of them wrote.
func (h *PhoneHooks) sender(account, from string) (who string, endpoints []oncall.Endpoint) {
	for e, t := range h.all() {
		if t.To == from && t.Account == account {
			endpoints = append(endpoints, e)
		}
	}
	if len(endpoints) == 0 {
		return "", nil
	}
	slices.Sort(endpoints)
	p := h.o.Policy()
	var names []string
	for name, u := range p.Users {
		for _, c := range u.Contacts {
			if slices.ContainsFunc(p.Receivers[c.Receiver].Endpoints, func(e oncall.Endpoint) bool { return slices.Contains(endpoints, e) }) {
				names = append(names, name)
				break
			}
		}
	}
	if len(names) == 1 {
		return names[0], endpoints
	}
	address := endpoints[0].Address()
	return "receiver " + address[:strings.LastIndexByte(address, '/')] + " by SMS", endpoints
}

// told returns the open incidents that some endpoints were told of, newest first.
func (h *PhoneHooks) told(ctx context.Context, endpoints []oncall.Endpoint) (all []oncall.Incident, err error) {
	var open []oncall.Incident
	for _, drills := range []bool{false, true} {
		f := oncall.IncidentFilter{States: []oncall.IncidentState{oncall.IncidentTriggered, oncall.IncidentAcknowledged, oncall.IncidentSnoozed}, Drills: drills}
		some, err := h.o.Acts.Incidents(ctx, f)
		if err != nil {
			return nil, err
		}
		open = append(open, some...)
	}
	for _, in := range open {
		in, err := h.o.Acts.Incident(ctx, in.Number)
		if err != nil {
			if oncall.ErrorCode(err) == oncall.CodeNotFound {
				continue
			}
			return nil, err
		}
		if slices.ContainsFunc(in.Deliveries, func(d oncall.Delivery) bool { return d.Attempts > 0 && slices.Contains(endpoints, d.Endpoint) }) {
			all = append(all, in)
		}
	}
	return all, nil
}
