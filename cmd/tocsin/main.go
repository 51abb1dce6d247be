// Command tocsin watches Prometheus, decides when a person must know, and pages until somebody has
// acknowledged.
//
// This package is flags, wiring and exit codes. What is decided, and when, is in the packages that it
// wires; the client commands speak HTTP to a running server. Start reading at cli (this file) for the
// commands and at serve.go for the wiring.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/prometheus/common/version"

	"tocsin/demo"
)

// The exit codes, a contract with scripts.
const (
	exitFine   = 0
	exitFailed = 1 // a check failed, an invalid file, a refused command, a server that gave up
	exitUsage  = 2 // wrong usage, or input that cannot be read
)

// cli is the command line.
type cli struct {
	Serve    serveCmd    `cmd:"" help:"Watch Prometheus and page people."`
	Check    checkCmd    `cmd:"" help:"Check rule files, or a configuration with all that it names."`
	Simulate simulateCmd `cmd:"" help:"Play an incident through before it happens: who is told, when, and why."`
	Config   configCmd   `cmd:"" help:"Print the configuration, its routes, and where an alert would go."`
	Demo     demoCmd     `cmd:"" help:"Replay a real outage with tocsin on watch. Needs nothing else."`
	Incident incidentCmd `cmd:"" help:"Open, list, show, acknowledge and resolve incidents of a running tocsin."`
	Oncall   oncallCmd   `cmd:"" help:"Show and change who is on call: schedules, overrides, swaps, coverage, calendars."`
	Silence  silenceCmd  `cmd:"" help:"Add, list, preview and expire silences of a running tocsin."`
	Slack    slackCmd    `cmd:"" help:"Check Slack's side, and print the manifest of its app."`
	Delivery deliveryCmd `cmd:"" help:"List and show what was sent and what was answered, and send it again."`
	Drill    drillCmd    `cmd:"" help:"Page people by every contact at once, marked as a drill, to find out which contacts work."`
	Beats    beatsCmd    `cmd:"" name:"heartbeat" help:"List heartbeats, and send one."`
	Receiver receiverCmd `cmd:"" help:"Send test pages through receivers, and show how their endpoints are."`
	Why      whyCmd      `cmd:"" help:"Explain an incident: what fired, who was told, and why."`
	Health   healthCmd   `cmd:"" help:"Ask a running tocsin how it is, for container health checks."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// streams are where a command writes: answers to Out, everything else to Err.
type streams struct{ Out, Err io.Writer }

// failure is an error with the exit code that it stands for. A nil error has been printed already.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string {
	if f.err == nil {
		return "failed"
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once: the first one asked for a clean end that did not come.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// run parses args, runs the command and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("tocsin"),
		kong.Description("An alarm bell: it watches Prometheus, decides when a person must know, and pages until somebody has it."),
		kong.Writers(s.Out, s.Err),
		kong.Exit(func(code int) { exited = code; panic(exitNow{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}),
		kong.Vars{"demo_speed": strconv.FormatFloat(demo.DefaultSpeed, 'g', -1, 64)},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(s),
	)
	if err != nil {
		panic(err) // the declaration above is wrong: no input can cause it
	}
	kctx, err := parse(parser, args, &exited)
	switch {
	case exited >= 0:
		return exited
	case len(args) == 0:
		return exitUsage
	case err != nil:
		fmt.Fprintf(s.Err, "tocsin: %v\nRun \"tocsin --help\", or \"tocsin <command> --help\", to see what is possible.\n", err)
		return exitUsage
	}
	return report(kctx.Run(), s)
}

// exitNow unwinds the parser after it has printed the help.
type exitNow struct{}

// parse runs the parser. Without arguments it prints the help, as if that had been asked for.
func parse(parser *kong.Kong, args []string, exited *int) (kctx *kong.Context, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exitNow); !ok {
				panic(r)
			}
			if len(args) == 0 {
				*exited = exitUsage
			}
		}
	}()
	if len(args) == 0 {
		return parser.Parse([]string{"--help"})
	}
	return parser.Parse(args)
}

// report prints an error and returns the exit code that it stands for.
func report(err error, s streams) int {
	if err == nil {
		return exitFine
	}
	code := exitFailed
	if f, ok := errors.AsType[*failure](err); ok {
		if code = f.code; f.err == nil {
			return code
		}
	}
	fmt.Fprintln(s.Err, "tocsin:", err)
	return code
}

type versionCmd struct{}

// Run prints the version as Prometheus' programs do.
func (versionCmd) Run(s streams) error {
	fmt.Fprintln(s.Out, version.Print("tocsin"))
	return nil
}

// init names the version of a binary that was built without the Makefile.
func init() {
	if version.Version != "" {
		return
	}
	version.Version = "dev"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		version.Version = info.Main.Version
	}
}
