package pager

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	promconfig "github.com/prometheus/common/config"

	"tocsin/notifier"
	"tocsin/notifier/outgoing"
	"tocsin/oncall"
)

// Account is one entry of pagerduty_configs or opsgenie_configs: where incidents are brought to, and by which key.
type Account struct {
	URL          *url.URL
	Key          func() (string, error) // asked at each attempt, so that a file with a new key needs no reload; errors hold no secrets
	HTTP         promconfig.HTTPClientConfig
	AllowPrivate bool          // the URL's host may resolve to a private address
	Timeout      time.Duration // of one request; 0: DefaultTimeout
	UpdateAlerts bool          // Opsgenie: the message and description follow the incident
}

// String keeps the key out of dumps.
func (a Account) String() string { return "account at " + a.URL.Host }

// Words returns what the user has written into an entry, rendered for a message: a tree of texts, lists and mappings by
// the entry's keys. What is missing is said in the incident's own words. An error names a text that could not be
// rendered, and holds no secrets; the words beside it are usable.
type Words func(ctx context.Context, m notifier.Message) (map[string]any, error)

// AccountOptions are what all accounts share.
type AccountOptions struct {
	Version     string            // of tocsin, for User-Agent; "" is shown as "dev"
	ExternalURL string            // base of links, without a trailing slash
	Words       Words             // nil: the incident's own words
	Others      notifier.Sender   // sends to the endpoints of the same kind that are no account; nil: nobody does
	Outgoing    outgoing.Policy   // what may be connected to
	Transport   http.RoundTripper // replaces the network in tests; nil: as each account's settings say
}

// accounts are what a sender knows of its endpoints. They never change.
type accounts struct {
	of   map[oncall.Endpoint]*account
	list string // as in the configuration
	o    AccountOptions
}

// account is an Account, ready to be used.
type account struct {
	Account
	client *http.Client
}

func newAccounts(list string, all map[oncall.Endpoint]Account, o AccountOptions) (accounts, error) {
	if o.Version == "" {
		o.Version = "dev"
	}
	as := accounts{of: make(map[oncall.Endpoint]*account, len(all)), list: list, o: o}
	for name, a := range all {
		if a.URL == nil || a.Key == nil {
			return as, oncall.Errorf(oncall.CodeInvalid, "%s: an account needs a URL and a key", name)
		}
		if a.Timeout <= 0 {
			a.Timeout = DefaultTimeout
		}
		client, err := outgoing.Client(string(name), a.HTTP, outgoing.Options{
			URLs: []*url.URL{a.URL}, AllowPrivate: a.AllowPrivate, Policy: o.Outgoing, Transport: o.Transport})
		if err != nil {
			return as, oncall.Errorf(oncall.CodeInvalid, "%s: %v", name, err)
		}
		as.of[name] = &account{Account: a, client: client}
	}
	return as, nil
}

// Close closes idle connections. Attempts that are under way end on their own.
func (as *accounts) Close() {
	for _, a := range as.of {
		a.client.CloseIdleConnections()
	}
}

// String names the sender without what it holds.
func (as *accounts) String() string { return fmt.Sprintf("sender of %d %s", len(as.of), as.list) }

// attempt is one attempt under way at an account.
type attempt struct {
	*oncall.Attempt
	outgoing.Exchange
	account *account
	key     string
	m       notifier.Message
	o       *AccountOptions
}

// send makes an attempt with the account of m's endpoint, and has others send what belongs to none.
func (as *accounts) send(ctx context.Context, m notifier.Message, try func(ctx context.Context, t *attempt)) oncall.Attempt {
	a := oncall.Attempt{At: time.Now(), Number: m.Delivery.Attempts}
	acc := as.of[m.Delivery.Endpoint]
	if acc == nil {
		if as.o.Others != nil {
			return as.o.Others.Send(ctx, m)
		}
		a.Outcome, a.Error = oncall.OutcomeRefused, "no longer configured: "+string(m.Delivery.Endpoint)+" is in no receiver's "+as.list
		return a
	}
	key, err := acc.Key()
	switch {
	case ctx.Err() != nil:
		a.Outcome, a.Error = oncall.OutcomeRetry, "not sent: "+ctx.Err().Error()
	case err != nil:
		a.Outcome, a.Error = oncall.OutcomeRetry, "not sent: "+outgoing.Excerpt(err.Error())
	case key == "":
		a.Outcome, a.Error = oncall.OutcomeRetry, "not sent: its key is empty"
	default:
		try(ctx, &attempt{Attempt: &a, account: acc, key: key, m: m, o: &as.o, Exchange: outgoing.Exchange{
			Client: acc.client, Redact: outgoing.NewRedactor(acc.URL, key), Timeout: acc.Timeout, MaxAnswer: 64 << 10}})
	}
	a.Took = time.Since(a.At)
	return a
}

// words are what the user has written for this message. A failure is told with the attempt, and costs nothing else.
func (t *attempt) words(ctx context.Context) map[string]any {
	if t.o.Words == nil {
		return nil
	}
	words, err := t.o.Words(ctx, t.m)
	if err != nil {
		if words == nil {
			words = map[string]any{}
		}
		words[failedKey] = t.Redact.Clean(err.Error())
	}
	return words
}

// failedKey says, among the words, which of them could not be rendered.
const failedKey = "tocsin_template_error"

// text is a word that is a text, "" where there is none.
func text(words map[string]any, key string) string {
	s, _ := words[key].(string)
	return s
}

// list is a word that is a list of mappings of texts.
func list(words map[string]any, key string) (out []map[string]any) {
	items, _ := words[key].([]any)
	for _, i := range items {
		if m, ok := i.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}
