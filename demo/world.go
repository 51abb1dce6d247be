package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tocsin/notifier/slack/slacktest"
)

// tick is how often the service is stepped and scraped, in real time.
const tick = 250 * time.Millisecond

// DefaultSpeed makes two hours of story three minutes long, and lets the rules be evaluated every half
// second.
const DefaultSpeed = 40

// channelName is the team's channel.
const channelName = "session-alerts"

// Options of a demo.
type Options struct {
	ListenAddress string    // loopback only; 127.0.0.1:0 by default
	Speed         float64   // story seconds per real second, 10 to 60; DefaultSpeed by default
	Out           io.Writer // the story line by line, for a terminal; nil for silence
	Logger        *slog.Logger
}

// World is everything around tocsin. Its exported fields do not change after Start.
type World struct {
	ConfigFile string // the tocsin.yml to serve
	StorageDir string // where serve may keep its store; removed by Close
	PageURL    string // where to look, with a trailing slash

	opts   Options
	dir    string
	phones *phones
	slack  *slacktest.Server
	client *http.Client // to tocsin

	listener net.Listener
	server   *http.Server
	stop     context.CancelFunc
	done     sync.WaitGroup
	closing  sync.Once
	closeErr error

	mu      sync.Mutex // guards everything below, and the present run
	tocsin  string     // base URL of the tocsin that is watching, without a trailing slash; "" before SetTocsin
	now     *run
	runs    []*run // all of them: their databases are closed by Close, since a query may still read them
	printed map[string]bool
	typed   []typed // slash commands of the visitor
}

// Start writes a configuration into a temporary directory, starts the world on one loopback listener, and
// lets the story begin. It returns once the page can be opened. The caller serves ConfigFile and then calls
// SetTocsin; whatever happens, it calls Close.
func Start(ctx context.Context, o Options) (*World, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tocsin-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the demo: %w", err)
	}
	w := &World{opts: o, dir: dir, StorageDir: filepath.Join(dir, "data"), printed: map[string]bool{}}
	if err := w.start(ctx); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (o *Options) complete() error {
	if o.ListenAddress == "" {
		o.ListenAddress = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(o.ListenAddress)
	if err != nil {
		return fmt.Errorf("the demo's address %q is no host:port", o.ListenAddress)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("the demo listens on loopback only, not on %q: anybody there could press its buttons", host)
	}
	if o.Speed == 0 {
		o.Speed = DefaultSpeed
	}
	if o.Speed < 10 || o.Speed > 60 {
		return fmt.Errorf("the demo runs 10 to 60 times faster than real, not %g times", o.Speed)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	return nil
}

func (w *World) start(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", w.opts.ListenAddress)
	if err != nil {
		return fmt.Errorf("listen for the demo's page: %w", err)
	}
	w.listener = listener
	w.PageURL = "http://" + listener.Addr().String() + "/"
	s := makeSecrets()
	if w.phones, err = newPhones(s.phones); err != nil {
		return err
	}
	if w.ConfigFile, err = writeFiles(w.dir, w.PageURL, w.opts.Speed, s); err != nil {
		return fmt.Errorf("write the demo's configuration: %w", err)
	}
	if err := os.Mkdir(w.StorageDir, 0o700); err != nil {
		return err
	}
	w.client = &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: 10 * time.Second}}
	w.slack = slacktest.New(slacktest.Options{
		Token: s.slackBot, SigningSecret: s.slackSigning, URL: w.PageURL + "slack",
		Client: w.client, Channels: []string{channelName}, Users: workspace(),
	})
	if err := w.begin(ctx, 0); err != nil {
		return err
	}
	handler, err := w.handler()
	if err != nil {
		return err
	}
	w.server = &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(w.opts.Logger.Handler(), slog.LevelDebug)}
	loops, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stop = stop
	w.done.Go(func() {
		if err := w.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			w.opts.Logger.Error("The demo's page is gone", "err", err)
		}
	})
	w.done.Go(func() { w.every(loops, tick, w.step) })
	w.done.Go(func() { w.every(loops, 2*tick, w.look) })
	w.printf("Watch the outage at %s\n", w.PageURL)
	w.printf("One real second is %g seconds of the story: %s to %s take %s.\n\n", w.opts.Speed, hhmm(storyStart), hhmm(outageEnd),
		shrink(outageEnd.Sub(storyStart), w.opts.Speed).Round(time.Second))
	return nil
}

func workspace() []slacktest.User {
	var out []slacktest.User
	for _, p := range people {
		out = append(out, slacktest.User{ID: p.slack, Name: p.name})
	}
	return out
}

// every calls f at once and then at each interval, until ctx ends.
func (w *World) every(ctx context.Context, interval time.Duration, f func(context.Context)) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		f(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// SetTocsin tells the world where tocsin serves, so that buttons and commands reach it.
func (w *World) SetTocsin(url string) {
	for len(url) > 0 && url[len(url)-1] == '/' {
		url = url[:len(url)-1]
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tocsin = url
}

// Close stops the world and removes its files. It may be called more than once.
func (w *World) Close() error {
	w.closing.Do(func() { w.closeErr = w.close() })
	return w.closeErr
}

func (w *World) close() error {
	var errs []error
	if w.stop != nil {
		w.stop()
	}
	switch {
	case w.server != nil:
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := w.server.Shutdown(ctx); err != nil {
			errs = append(errs, w.server.Close())
		}
	case w.listener != nil:
		errs = append(errs, w.listener.Close())
	}
	w.done.Wait()
	if w.client != nil {
		w.client.CloseIdleConnections()
	}
	for _, r := range w.runs {
		errs = append(errs, r.metrics.close())
	}
	return errors.Join(append(errs, os.RemoveAll(w.dir))...)
}

// printf writes to the terminal; a terminal that is gone is no reason to stop.
func (w *World) printf(format string, args ...any) { _, _ = fmt.Fprintf(w.opts.Out, format, args...) }
