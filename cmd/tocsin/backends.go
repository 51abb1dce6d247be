package main

import (
	"fmt"
	"net/url"

	"tocsin/config"
	"tocsin/evaluator"
	promquery "tocsin/evaluator/prometheus"
)

// backends makes a client for each Prometheus of a plan, by name.
func backends(plan *config.Plan) (map[string]*promquery.Client, error) {
	clients := make(map[string]*promquery.Client, len(plan.Backends))
	for name, c := range plan.Backends {
		client, err := promquery.New(c)
		if err != nil {
			closeBackends(clients)
			return nil, fmt.Errorf("backend %s: %w", name, err)
		}
		clients[name] = client
	}
	return clients, nil
}

func closeBackends(clients map[string]*promquery.Client) {
	for _, c := range clients {
		c.Close()
	}
}

// evaluation is what a plan asks of the evaluator.
func evaluation(plan *config.Plan, clients map[string]*promquery.Client, externalURL string) evaluator.Plan {
	sources := make(map[string]evaluator.Source, len(clients))
	for name, client := range clients {
		c := plan.Backends[name]
		sources[name] = evaluator.Source{Backend: client, BackendName: backendName(plan, c), GraphURL: redacted(graphBase(c)), QueryTimeout: c.Timeout}
	}
	first := sources[plan.Prometheus.Name]
	return evaluator.Plan{
		Groups: plan.Rules.Groups, Backends: sources,
		Backend: first.Backend, BackendName: first.BackendName, GraphURL: first.GraphURL, QueryTimeout: first.QueryTimeout,
		ExternalURL:    externalURL,
		ExternalLabels: plan.ExternalLabels,
		Interval:       plan.EvaluationInterval,
		UnknownAfter:   plan.UnknownAfter,
	}
}

// backendName is how people know a backend: a single one by its address, several by their names, since two
// may be one address with different tenants.
func backendName(plan *config.Plan, c promquery.Config) string {
	if len(plan.Backends) > 1 {
		return c.Name
	}
	return redacted(c.URL)
}

// graphBase is where people open the graph of a rule.
func graphBase(c promquery.Config) *url.URL {
	if c.ExternalURL != nil {
		return c.ExternalURL
	}
	return c.URL
}
