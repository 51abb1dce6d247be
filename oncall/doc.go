// Package oncall is the functional core of tocsin: alerts, incidents, escalations and deliveries as plain
// values, and the transitions between them.
//
// Every transition takes now and an event and returns the new state and what must follow, each with a
// reason. Nothing here does I/O, starts a goroutine, takes a context, knows SQL or reads a clock; the same
// inputs always give the same outputs, so a caller may run a transition twice and keep one result.
//
// The order of effects is: load, decide, commit the decision whole, then send. A shell that sends before
// it has committed loses pages.
//
// Start reading at Decide (machine.go), which moves one incident by one event, and StepRule (step.go),
// which moves the alerts of one rule by one evaluation. The shells around them are the packages evaluator
// (asks Prometheus), notifier (runs incidents and deliveries) and store (keeps everything).
package oncall
