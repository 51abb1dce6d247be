package slack

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"tocsin/oncall"
)

// What `tocsin slack check` looks at: everything that Slack's side must have for tocsin to reach people there, each
// with what to click or type where it is missing.

// Checked is one line of a check.
type Checked struct {
	What string // "bot token", "channel #alerts"
	OK   bool
	Text string // what was found
	Fix  string // what to click or type; "" where it is fine
}

const (
	maxChannelPages = 100 // of 1,000
	skewWarned      = 30 * time.Second
	skewRefused     = signatureWindow - time.Minute
)

// checking is one check of one workspace.
type checking struct {
	a     *Adapter
	found []Checked
	lacks map[string]bool // scopes that the token is known to lack
	also  []string        // channels that nothing in the policy names
}

func (c *checking) good(what, format string, args ...any) {
	c.found = append(c.found, Checked{What: what, OK: true, Text: fmt.Sprintf(format, args...)})
}

func (c *checking) bad(what, text, fix string) {
	c.found = append(c.found, Checked{What: what, Text: text, Fix: fix})
}

// Check asks Slack about all workspaces: about what the policy names, and channels beside it, as the configuration
// writes them. It changes nothing there.
func (w *Workspaces) Check(ctx context.Context, channels ...string) []Checked {
	var all []Checked
	for _, a := range w.all {
		c := &checking{a: a, lacks: map[string]bool{}, also: channels}
		c.run(ctx)
		for _, f := range c.found {
			f.What = workspaceWords(a.cfg.Name) + f.What
			all = append(all, f)
		}
	}
	return all
}

func (c *checking) run(ctx context.Context) {
	if !c.token(ctx) {
		return // everything else would fail for the same reason
	}
	c.appToken(ctx)
	c.channels(ctx)
	c.groups(ctx)
	c.users(ctx)
}

// ask is call, patient where Slack asks for patience.
func (c *checking) ask(ctx context.Context, method string, args url.Values, into any) *callError {
	for {
		e := c.a.exchange(ctx, method, args, into)
		if e == nil || e.retryAfter == 0 || ctx.Err() != nil {
			return e
		}
		timer := time.NewTimer(e.retryAfter)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return e
		}
	}
}

// token looks at the bot token, its scopes and the clock. It returns whether anything more can be asked.
func (c *checking) token(ctx context.Context) bool {
	var who struct {
		Team   string `json:"team"`
		TeamID string `json:"team_id"`
		User   string `json:"user"`
	}
	rec := &recorder{client: c.a.http}
	asked := time.Now()
	if err := c.a.request(ctx, rec, "auth.test", url.Values{}, &who); err != nil {
		at := oncall.Attempt{}
		classify("auth.test", err, rec, &at)
		fix := "see whether this machine reaches " + c.a.api.Host + ": its proxy, its firewall, slack.api_url"
		if at.Outcome == oncall.OutcomeRefused {
			fix = "in Slack: api.slack.com/apps, your app, OAuth & Permissions, Bot User OAuth Token; put it into slack.bot_token_file"
		}
		c.bad("bot token", bounded(clean(c.a.redact(at.Error))), fix)
		return false
	}
	c.good("bot token", "%s in %s (%s)", shorten(clean(who.User), 40), shorten(clean(who.Team), 60), shorten(clean(who.TeamID), 20))
	c.clock(rec.header, asked)
	c.scopes(rec.header)
	return true
}

// clock compares our clock with Slack's: a signature that is older than five minutes is refused.
func (c *checking) clock(h http.Header, asked time.Time) {
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	skew := asked.Sub(theirs).Round(time.Second)
	const fix = "set this machine's clock, by NTP: a press is refused when the clocks are more than five minutes apart"
	switch {
	case skew.Abs() > skewRefused && c.a.cfg.SigningSecret != "":
		c.bad("clock", fmt.Sprintf("this machine's clock is %s off Slack's", skew), fix)
	case skew.Abs() > skewWarned:
		c.good("clock", "%s off Slack's, which still works: %s", skew, fix)
	default:
		c.good("clock", "agrees with Slack's")
	}
}

func (c *checking) scopes(h http.Header) {
	header := h.Get("X-Oauth-Scopes")
	if header == "" {
		c.good("scopes", "Slack did not list them; the checks below show what is missing")
		return
	}
	has, needs := scopesOf(header), BotScopes()
	var missing, spare []string
	for _, s := range needs {
		if !slices.Contains(has, s) {
			missing, c.lacks[s] = append(missing, s), true
		}
	}
	for _, s := range has {
		if !slices.Contains(needs, s) {
			spare = append(spare, shorten(clean(s), 40))
		}
	}
	text := "all that are used"
	if len(spare) > 0 {
		text += "; not needed: " + strings.Join(spare, ", ")
	}
	if len(missing) == 0 {
		c.good("scopes", "%s", text)
		return
	}
	c.bad("scopes", "missing: "+strings.Join(missing, ", "),
		"in Slack: api.slack.com/apps, your app, OAuth & Permissions, Bot Token Scopes: add them, then Reinstall to Workspace")
}

// appToken looks at how presses and commands come in.
func (c *checking) appToken(ctx context.Context) {
	if c.a.cfg.AppToken == "" {
		c.good("requests", "over HTTP, signed; the signing secret cannot be tested from here: type %s help in Slack", c.a.cfg.Command)
		return
	}
	e := c.ask(ctx, "apps.connections.open", url.Values{}, nil)
	if e == nil {
		c.good("app token", "Socket Mode can be used")
		return
	}
	fix := "in Slack: api.slack.com/apps, your app, Basic Information, App-Level Tokens: one with connections:write, into slack.app_token_file; " +
		"and Socket Mode, Enable Socket Mode"
	if e.outcome != oncall.OutcomeRefused {
		fix = "try again"
	}
	c.bad("app token", e.text, fix)
}

// channelsOf are the channels that the policy names in this workspace, and those beside it, each once.
func (a *Adapter) channelsOf(also []string) []string {
	p := a.policy()
	all := map[string]bool{}
	add := func(address string) {
		if place, rest, _ := oncall.CutWorkspace(address); address != "" && address != "dm" && place == a.place {
			all[rest] = true
		}
	}
	for _, e := range p.Escalations {
		for _, tier := range e.Tiers {
			for _, t := range tier.Targets {
				if t.Kind == oncall.TargetSlack {
					add(t.Name)
				}
			}
		}
	}
	for _, u := range p.Users {
		for _, contact := range u.Contacts {
			add(contact.Slack)
		}
	}
	for _, s := range p.Schedules {
		add(s.NotifySlack)
		add(s.SlackTopic)
	}
	for _, address := range also {
		add(address)
	}
	return slices.Sorted(maps.Keys(all))
}

// slackChannel is what Slack says of a channel.
type slackChannel struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Archived bool   `json:"is_archived"`
	Member   bool   `json:"is_member"`
	Private  bool   `json:"is_private"`
	Topic    struct {
		Value string `json:"value"`
	} `json:"topic"`
}

func (c *checking) channels(ctx context.Context) {
	names := c.a.channelsOf(c.also)
	if len(names) == 0 {
		return
	}
	var listed map[string]slackChannel
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "#") }) {
		var e *callError
		if listed, e = c.list(ctx); e != nil {
			c.bad("channels", "they cannot be listed: "+e.text, e.remedy())
			return
		}
	}
	for _, name := range names {
		short, byName := strings.CutPrefix(name, "#")
		ch, known := listed[short]
		if !byName {
			var got struct {
				Channel slackChannel `json:"channel"`
			}
			e := c.ask(ctx, "conversations.info", url.Values{"channel": {name}}, &got)
			if e != nil && e.code != "channel_not_found" {
				c.bad("channel "+name, e.text, e.remedy())
				continue
			}
			ch, known = got.Channel, e == nil
		}
		c.channel(name, ch, known)
		if known {
			c.topic(name, ch)
		}
	}
}

// remedy is what to do about a question that Slack did not answer.
func (e *callError) remedy() string {
	if e.outcome == oncall.OutcomeRefused {
		return "add the scopes above; then run this again"
	}
	return "run this again; where it stays like this, see https://slack-status.com and what stands between this machine and Slack"
}

func (c *checking) channel(name string, ch slackChannel, known bool) {
	what := "channel " + name
	switch {
	case !known:
		c.bad(what, "Slack knows none, or it is private and the app is not in it",
			"create it or correct its name; where it is private, type /invite @tocsin there")
	case ch.Archived:
		c.bad(what, "it is archived", "in Slack: the channel's settings, Unarchive; or name another one")
	case !ch.Member:
		c.bad(what, "the app is not in it", "in "+name+" type /invite @tocsin")
	default:
		c.good(what, "found, and the app is in it")
	}
}

// list reads all channels that the app can see, by name.
func (c *checking) list(ctx context.Context) (map[string]slackChannel, *callError) {
	all := map[string]slackChannel{}
	args := url.Values{"types": {"public_channel,private_channel"}, "limit": {"1000"}}
	if c.lacks["groups:read"] {
		args.Set("types", "public_channel")
	}
	for range maxChannelPages {
		var page struct {
			Channels []slackChannel `json:"channels"`
			Metadata struct {
				Next string `json:"next_cursor"`
			} `json:"response_metadata"`
		}
		if e := c.ask(ctx, "conversations.list", args, &page); e != nil {
			return nil, e
		}
		for _, ch := range page.Channels {
			if before, twice := all[ch.Name]; !twice || before.Archived { // a new one may have an archived one's name
				all[ch.Name] = ch
			}
		}
		if page.Metadata.Next == "" {
			break
		}
		args.Set("cursor", page.Metadata.Next)
	}
	return all, nil
}

// users looks for the people that the configuration names.
func (c *checking) users(ctx context.Context) {
	users := c.a.users()
	for _, name := range slices.Sorted(maps.Keys(users)) {
		u := users[name]
		if u.Slack == "" && u.Email == "" {
			continue
		}
		c.user(ctx, u)
	}
}

func (c *checking) user(ctx context.Context, u oncall.User) {
	what, by := "user "+u.Name, u.Slack
	method, args := "users.info", url.Values{"user": {u.Slack}}
	if u.Slack == "" {
		by = u.Email
		method, args = "users.lookupByEmail", url.Values{"email": {u.Email}}
	}
	var got struct {
		User struct {
			ID        string `json:"id"`
			Deleted   bool   `json:"deleted"`
			Bot       bool   `json:"is_bot"`
			Confirmed bool   `json:"is_email_confirmed"`
			Stranger  bool   `json:"is_stranger"`
		} `json:"user"`
	}
	e := c.ask(ctx, method, args, &got)
	switch {
	case e != nil && (e.code == "user_not_found" || e.code == "users_not_found" || e.code == "user_not_visible"):
		c.bad(what, "Slack knows nobody by "+by, "in Slack: the person's profile, ⋮, Copy member ID; put it into users as slack: U…")
	case e != nil:
		c.bad(what, e.text, e.remedy())
	case got.User.Deleted:
		c.bad(what, by+" is a deactivated account", "take the user out of the configuration, or name their new account")
	case got.User.Bot:
		c.bad(what, by+" is a bot", "name the person's own account")
	case got.User.Stranger:
		c.bad(what, by+" is of another Slack workspace, met in a shared channel: they may neither act nor look", "name their account in this workspace")
	case u.Slack == "" && !got.User.Confirmed:
		c.bad(what, "Slack has not verified the address "+by, "let the person confirm it in Slack, or write slack: "+shorten(clean(got.User.ID), 20))
	default:
		c.good(what, "found by %s", by)
	}
}
