// Package demo replays the outage of 23 September 2024 as it would have gone with tocsin.
//
// It is the world around tocsin, not tocsin: a simulated session service that leaks memory, a Prometheus
// query API over a real engine and TSDB, a Slack that speaks Slack's API, the phones of two people, and
// one page that shows all of it. tocsin itself is the ordinary serve, started by the command on the
// configuration that Start writes; it reaches this world over HTTP and nothing else, so whatever the page
// shows has gone down the whole line from a rule to an acknowledged page.
//
// Time runs faster than real, by one constant factor: the service's physics, the rule file's durations
// and the escalation's are all divided by it. Everything that people read is in story time.
//
// Everything listens on one loopback address. Nothing here is meant for production.
//
// Start reading at Start (world.go); the physics is service.go, the plot is engineer.go and story.go.
package demo
