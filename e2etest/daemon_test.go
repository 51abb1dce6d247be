package e2etest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A program takes the flags of Alertmanager: tocsin, or an Alertmanager to compare it with.
type program struct {
	name    string
	command []string
}

// programs returns what a scenario runs against: tocsin, and an Alertmanager where there is one of the
// version that tocsin follows.
func programs(t testing.TB) []program {
	t.Helper()
	list := []program{ours()}
	path := os.Getenv("ALERTMANAGER")
	if path == "" {
		path, _ = exec.LookPath("alertmanager")
	}
	if path == "" {
		t.Log("not compared with Alertmanager: there is none on PATH, and ALERTMANAGER names none")
		return list
	}
	out, err := exec.Command(path, "--version").CombinedOutput()
	if os.Getenv("ALERTMANAGER") == "" && (err != nil || !strings.Contains(string(out), "version 0.34")) {
		t.Logf("not compared with Alertmanager: %s is not 0.34", path)
		return list
	}
	return append(list, program{"alertmanager", []string{path}})
}

// ours is the tocsin under test. (A function: the binary is built in TestMain.)
func ours() program { return program{"tocsin", []string{binary, "serve"}} }

// daemon is a running program with one configuration file and one directory for its data, over restarts.
type daemon struct {
	t    testing.TB
	prog program
	dir  string
	args []string
	base string // path prefix of its API

	mu   sync.Mutex
	proc *exec.Cmd
	done chan struct{}
	addr string
	log  bytes.Buffer
	mark int // in log, where the last start is
}

var listening = regexp.MustCompile(`Listening on.*address="?([0-9.]+:[0-9]+)`)

// newDaemon writes the configuration and starts the program with the flags. It is killed when the test ends.
func newDaemon(t testing.TB, p program, config string, flags ...string) *daemon {
	t.Helper()
	return prefixed(t, p, "", config, flags...)
}

// prefixed is newDaemon for a program that serves below a path.
func prefixed(t testing.TB, p program, base, config string, flags ...string) *daemon {
	t.Helper()
	d := prepare(t, p, base, config, flags...)
	d.start()
	return d
}

// prepare is prefixed for those who start the program themselves.
func prepare(t testing.TB, p program, base, config string, flags ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, prog: p, dir: t.TempDir(), base: base}
	if base != "" {
		flags = append([]string{"--web.route-prefix", base}, flags...)
	}
	d.configure(config)
	// Alertmanager's own defaults open ports for its cluster; tocsin has none and ignores the flag.
	d.args = append([]string{"--config.file", filepath.Join(d.dir, "alertmanager.yml"), "--storage.path", filepath.Join(d.dir, "data"),
		"--web.listen-address", "127.0.0.1:0", "--cluster.listen-address", ""}, flags...)
	t.Cleanup(d.kill)
	t.Cleanup(func() {
		if t.Failed() {
			log := d.logged()
			t.Logf("log of %s (last part):\n%s", p.name, log[max(0, len(log)-6000):])
		}
	})
	return d
}

func (d *daemon) configure(config string) {
	d.t.Helper()
	d.write("alertmanager.yml", config)
}

// write puts a file beside the configuration.
func (d *daemon) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// Write keeps what the program logs, and learns from it where it listens.
func (d *daemon) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log.Write(b)
	if d.addr == "" {
		log := d.log.Bytes()[d.mark:]
		if all := listening.FindAllSubmatch(log, -1); len(all) > 0 {
			d.addr = string(all[len(all)-1][1])
		}
	}
	return len(b), nil
}

func (d *daemon) logged() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// start starts the program and waits until it is ready.
func (d *daemon) start() {
	d.t.Helper()
	d.launch()
	ready := false
	until(patience, func() bool {
		ready = d.status(http.MethodGet, "/-/ready", nil, nil) == http.StatusOK
		return ready || d.ended()
	})
	if !ready {
		d.t.Fatalf("%s does not get ready", d.prog.name)
	}
}

// launch starts the program without waiting.
func (d *daemon) launch() {
	d.t.Helper()
	args := append(append([]string{}, d.prog.command[1:]...), d.args...)
	cmd := exec.Command(d.prog.command[0], args...)
	cmd.Stdout, cmd.Stderr = d, d
	d.mu.Lock()
	d.addr, d.mark = "", d.log.Len()
	d.mu.Unlock()
	if err := cmd.Start(); err != nil {
		d.t.Error(err)
		return
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	d.mu.Lock()
	d.proc, d.done = cmd, done
	d.mu.Unlock()
}

// ended reports whether the program runs no more.
func (d *daemon) ended() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

func (d *daemon) kill() { d.signal(syscall.SIGKILL) }

func (d *daemon) signal(s syscall.Signal) {
	d.mu.Lock()
	proc, done := d.proc, d.done
	d.mu.Unlock()
	if proc == nil {
		return
	}
	_ = proc.Process.Signal(s) // it may have ended
	<-done
}

// url is the address of the API, empty while the program has not said where it listens.
func (d *daemon) url() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.addr == "" {
		return ""
	}
	return "http://" + d.addr + d.base
}

// call sends a request with a JSON body, unless in is nil, and returns the status, 0 where nothing answered,
// and the body of the answer.
func (d *daemon) call(method, path string, in any) (int, []byte) {
	url := d.url()
	if url == "" {
		return 0, nil
	}
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			d.t.Error(err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, url+path, body)
	if err != nil {
		d.t.Error(err)
		return 0, nil
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := apiClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil
	}
	return res.StatusCode, b
}

// apiClient waits long: Alertmanager takes its time to list 100,000 alerts on a busy machine.
var apiClient = &http.Client{Timeout: time.Minute}

// status is call for those who want the answer decoded, if it is a good one.
func (d *daemon) status(method, path string, in, out any) int {
	code, b := d.call(method, path, in)
	if out != nil && code/100 == 2 {
		decode(d.t, b, out)
	}
	return code
}

func decode(t testing.TB, b []byte, out any) {
	t.Helper()
	if err := json.Unmarshal(b, out); err != nil {
		t.Errorf("%v\n%s", err, b)
	}
}

// reload makes the program load its configuration again.
func (d *daemon) reload() {
	d.t.Helper()
	if code, b := d.call(http.MethodPost, "/-/reload", nil); code != http.StatusOK {
		d.t.Errorf("reload: HTTP %d %s", code, b)
	}
}
