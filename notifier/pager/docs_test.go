package pager_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tocsin/notifier/pager"
	"tocsin/oncall"
)

// The receiver in the document takes our pages, and only ours.
func TestTheDocumentedReceiver(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	document, err := os.ReadFile(filepath.Join("..", "..", "docs", "paging-webhook.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(document), "```go\n")
	code, _, found := strings.Cut(code, "```")
	if !found {
		t.Fatal("the document shows no Go receiver")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "receiver")
	if err := os.WriteFile(program+".go", []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", program, program+".go").CombinedOutput(); err != nil {
		t.Fatalf("the documented receiver does not build: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // free for the receiver
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "ADDR="+address, "SECRET="+secret)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })

	p := newPager(t, "http://"+address, func(c *pager.Config) { c.Secrets = []string{another, secret} }, nil)
	var a oncall.Attempt
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if a = p.Send(t.Context(), message("msg_a")); a.Outcome != oncall.OutcomeRetry { // it does not listen yet
			break
		}
	}
	if a.Outcome != oncall.OutcomeDelivered || a.Status != 204 {
		t.Errorf("our page: %+v", a)
	}
	stranger := newPager(t, "http://"+address, func(c *pager.Config) { c.Secrets = []string{another} }, nil)
	if a := stranger.Send(t.Context(), message("msg_b")); a.Outcome != oncall.OutcomeRefused || a.Status != 401 {
		t.Errorf("a stranger's page: %+v", a)
	}
}
