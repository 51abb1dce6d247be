package e2etest

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// deadman is a dead man's switch.
type deadman struct {
	mu     sync.Mutex
	pulses int
}

func (d *deadman) ServeHTTP(http.ResponseWriter, *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pulses++
}

func (d *deadman) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pulses
}

// newPulses is a tocsin under examples/heartbeats, with shorter times.
func newPulses(t *testing.T) (*world, *deadman) {
	t.Helper()
	far := &deadman{}
	server := httptest.NewServer(far)
	t.Cleanup(server.Close)
	example, err := os.ReadFile("../examples/heartbeats/tocsin.yml")
	if err != nil {
		t.Fatal(err)
	}
	shorter := func(old, new string, config *string) {
		if !strings.Contains(*config, old) {
			t.Fatalf("the example has no %q any more", old)
		}
		*config = strings.Replace(*config, old, new, 1)
	}
	config := string(example)
	shorter("http://127.0.0.1:8080/page", "$PAGER/sms", &config)
	shorter("secrets/pager", "page", &config)
	shorter("secrets/backup-beat", "backup-beat", &config)
	shorter("  every: 1m\n  grace: 2m", "  every: 1s\n  grace: 2s", &config)
	shorter("http://127.0.0.1:9094/hooks/heartbeat/tocsin   # another tocsin, or any service that misses a GET\n  every: 1m", server.URL+"\n  every: 1s", &config)
	config += "users: [{name: ana, contacts: [{receiver: pager}]}]\n"
	w := newWorld(t, "", config, "groups: []\n")
	w.write("backup-beat", "geheim")
	return w, far
}

func (w *world) beat(target string) int {
	w.t.Helper()
	resp, err := http.Post(w.url+"/hooks/heartbeat/"+target, "", nil)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// pagesAbout counts the pages that ask for attention and whose title holds a text.
func (w *world) pagesAbout(title string) (n int) {
	for _, p := range w.pager.Pages() {
		if p.Type == "incident.triggered" && strings.Contains(p.Title, title) {
			n++
		}
	}
	return n
}

// titled returns the incidents whose title holds a text.
func (w *world) titled(title string) (list []incident) {
	for _, in := range w.incidents() {
		if strings.Contains(in.Title, title) {
			list = append(list, in)
		}
	}
	return list
}

// TestHeartbeatsAndPulse: a heartbeat that is not heard pages, after a kill too; a beat resolves it; and tocsin's own
// pulse goes out while it works, and not while it is gone.
func TestHeartbeatsAndPulse(t *testing.T) {
	t.Parallel()
	w, far := newPulses(t)
	w.start()
	w.ready()
	for target, want := range map[string]int{"queue-worker": 200, "backup": 401, "backup?token=geheim": 200, "bakup": 404} {
		if got := w.beat(target); got != want {
			t.Errorf("beat of %s: %d, want %d", target, got, want)
		}
	}
	for want, args := range map[int][]string{0: {"queue-worker"}, 1: {"backup"}} {
		if out, code := w.run(append([]string{"heartbeat", "beat"}, args...)...); code != want || want == 1 && !strings.Contains(out, "--token-file") {
			t.Errorf("heartbeat beat %v: %d %s", args, code, out)
		}
	}
	if out, code := w.run("heartbeat", "beat", "backup", "--token-file", filepath.Join(w.dir, "backup-beat")); code != 0 || out != "" {
		t.Errorf("heartbeat beat backup: %d %s", code, out)
	}
	w.eventually(patience, "pulses arrive", func() bool { return far.count() >= 2 })
	w.kill()
	before := far.count()
	w.start()
	w.eventually(patience, "the missing heartbeat pages", func() bool { return w.pagesAbout("Heartbeat queue-worker is missing") == 1 })
	if out, code := w.run("heartbeat", "list", "--missing"); code != 1 || !strings.Contains(out, "queue-worker  missed") {
		t.Errorf("heartbeat list: %d %s", code, out)
	}
	in := w.full(1)
	if in.State != "triggered" || len(w.titled("queue-worker")) != 1 {
		t.Errorf("%+v", in)
	}
	if code := w.beat("queue-worker"); code != 200 {
		t.Errorf("beat: %d", code)
	}
	w.eventually(patience, "a beat resolves it", func() bool { return w.full(1).State == "resolved" })
	w.eventually(patience, "pulses go on", func() bool { return far.count() > before })
	var list []struct{ Name, State string }
	if code := w.get("/api/tocsin/v1/heartbeats", &list); code != 200 || len(list) != 2 || list[0].Name != "backup" || list[0].State != "ok" {
		t.Errorf("%d %+v", code, list)
	}
	resp, err := http.Get(w.url + "/-/watchdog")
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("%v %v", resp, err)
	} else {
		resp.Body.Close()
	}
}

// TestOpenedByHand: an incident that a person opens on the command line pages at once, once for each request, outlives
// a kill, and ends when a person ends it.
func TestOpenedByHand(t *testing.T) {
	t.Parallel()
	w, _ := newPulses(t)
	w.start()
	w.ready()
	open := []string{"incident", "open", "--url", w.url, "--page", "ana", "-t", "The till is stuck", "--user", "bo", "--request", "one"}
	out, code := w.run(open...)
	if code != 0 || !strings.Contains(out, "is opened, and ana is paged") {
		t.Fatalf("%d %s", code, out)
	}
	w.kill()
	w.start()
	w.ready()
	if out, code := w.run(open...); code != 0 || !strings.Contains(out, "by the same request before") {
		t.Errorf("%d %s", code, out)
	}
	w.eventually(patience, "ana is paged", func() bool { return w.pagesAbout("The till is stuck") >= 1 })
	list := w.titled("The till is stuck")
	if len(list) != 1 {
		t.Fatalf("opened %d: %+v", len(list), list)
	}
	number := list[0].Number
	for range 2 { // the same request
		if out, code := w.run("incident", "note", "-t", "looking", "--user", "ana", "--request", "two", strconv.FormatInt(number, 10)); code != 0 {
			t.Errorf("%d %s", code, out)
		}
	}
	notes := slices.DeleteFunc(w.full(number).Timeline, func(e timelineEntry) bool { return e.Kind != "note" })
	if len(notes) != 1 {
		t.Errorf("the same note twice: %+v", notes)
	}
	if out, code := w.run("incident", "resolve", "--url", w.url, "--user", "ana", strconv.FormatInt(number, 10)); code != 0 {
		t.Errorf("%d %s", code, out)
	}
	if in := w.full(number); in.State != "resolved" {
		t.Errorf("%+v", in)
	}
}
