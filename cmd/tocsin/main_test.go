package main

import (
	"bytes"
	"flag"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata/script")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tocsin": main})
}

// TestScripts runs the real binary. Each file in testdata/script is one story.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("USER", "tester")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits},
	})
}

// exits runs a command and wants exactly this exit code: exits 2 tocsin serve --nonsense.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command [args]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if err != nil {
		e, ok := err.(interface{ ExitCode() int })
		if !ok {
			ts.Fatalf("%v", err)
		}
		code = strconv.Itoa(e.ExitCode())
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

// TestAlertmanagersFlags: each flag of Alertmanager 0.34 starts tocsin too; what does nothing says so.
func TestAlertmanagersFlags(t *testing.T) {
	args := []string{"serve", "--config.file=a.yml", "--storage.path=d", "--web.listen-address=:1", "--web.external-url=http://a/", "--web.route-prefix=/",
		"--web.config.file=w.yml", "--log.level=info", "--log.format=json", "--dispatch.start-delay=1s", "--silences.max-silences=1000", "--enable-feature=classic-mode,receiver-name-in-metrics"}
	idle := []string{"--data.retention=120h", "--data.maintenance-interval=15m", "--silences.max-silence-size-bytes=0",
		"--no-log.silences", "--alerts.gc-interval=30m", "--alerts.per-alertname-limit=0", "--dispatch.maintenance-interval=30s",
		"--web.get-concurrency=0", "--web.timeout=0", "--auto-gomemlimit.ratio=0.9", "--cluster.listen-address=", "--cluster.peer=a:1", "--cluster.peer=b:1"}
	var c struct {
		Serve serveCmd `cmd:""`
	}
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(append(args, idle...))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	warnIgnored(parsed, logger)
	c.Serve.warnIgnored(logger)
	for _, flag := range idle {
		name, _, _ := strings.Cut(strings.Replace(flag, "--no-", "--", 1), "=")
		if !strings.Contains(log.String(), name+"\n") {
			t.Errorf("nobody is told that %s does nothing:\n%s", name, log.String())
		}
	}
	if err := c.Serve.validate(); err != nil || !strings.Contains(log.String(), "receiver-name-in-metrics") || strings.Count(log.String(), "\n") != len(idle) {
		t.Errorf("%v\n%s", err, log.String())
	}
	if c.Serve.Features = []string{"classic-mod"}; c.Serve.validate() == nil {
		t.Error("a feature that nobody knows is taken")
	}
}
