package pager

import (
	"context"
	"net/url"
	"sync"

	promconfig "github.com/prometheus/common/config"

	"tocsin/notifier"
	"tocsin/notifier/outgoing"
	"tocsin/oncall"
)

var (
	_ notifier.Prober = (*Pager)(nil)
	_ notifier.Prober = (*PagerDuty)(nil)
	_ notifier.Prober = (*Opsgenie)(nil)
)

// lookups are how many names are looked up at once: a name server that is silent must not use up the time of all.
const lookups = 32

// probe is what it takes to find out where an endpoint leads.
type probe struct {
	settings promconfig.HTTPClientConfig
	options  outgoing.Options
	redact   *outgoing.Redactor
}

// lookUp says of each endpoint what would be wrong with a page that is sent now.
func lookUp(ctx context.Context, all map[oncall.Endpoint]probe) map[oncall.Endpoint]string {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // guards wrong
		wrong = map[oncall.Endpoint]string{}
		slots = make(chan struct{}, lookups)
	)
	for name, p := range all {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			refusal, err := outgoing.Lookup(ctx, p.settings, p.options)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case refusal != nil:
				wrong[name] = refusal.Error()
			case err != nil:
				wrong[name] = p.redact.Clean(err.Error())
			}
		})
	}
	wg.Wait()
	return wrong
}

// Probe looks up where the endpoints' names lead now, and says of each what would be wrong with a page that is sent. A
// page must not find that out in the night.
func (p *Pager) Probe(ctx context.Context) map[oncall.Endpoint]string {
	all := make(map[oncall.Endpoint]probe, len(p.endpoints))
	for name, e := range p.endpoints {
		all[name] = probe{e.config.HTTP, e.options, e.Redact}
	}
	return lookUp(ctx, all)
}

// Probe looks up where the accounts' names lead now, and says of each what would be wrong with a message.
func (as *accounts) Probe(ctx context.Context) map[oncall.Endpoint]string {
	all := make(map[oncall.Endpoint]probe, len(as.of))
	for name, a := range as.of {
		all[name] = probe{a.HTTP, outgoing.Options{URLs: []*url.URL{a.URL}, AllowPrivate: a.AllowPrivate, Policy: as.o.Outgoing}, outgoing.NewRedactor(a.URL)}
	}
	return lookUp(ctx, all)
}
