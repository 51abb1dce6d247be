// Package web is tocsin over HTTP: the JSON API, the part of Prometheus' API that is about rules, the
// probes, the callbacks of Slack and of acknowledge links, and a small console so that links in messages
// lead somewhere.
//
// It decides nothing about incidents. Every change goes through Acts, as a press in Slack does, and every
// answer is a view of what the core and the store say. How a request is authenticated is the listener's
// business (exporter-toolkit); this package is told who it was.
//
// Start reading at New (web.go), which lists every route. The contract of the own API is openapi.yaml, which
// a test holds against the handlers; that of Prometheus' is what Prometheus answers (testdata/prometheus).
package web
