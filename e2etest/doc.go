// Package e2etest starts the real binary as a user would and looks at what reaches the far ends: a real
// Prometheus, a strict Slack, a strict pager, SIGKILL. Everything in it is a test.
//
// Start reading at TestWholeLine (line_test.go); world_test.go is what the tests share.
package e2etest
