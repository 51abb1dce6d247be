package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"

	"tocsin/config"
)

// listeners are the open ports, before anything answers on them.
type listeners struct {
	main     []net.Listener
	callback net.Listener // nil: callbacks are on main alone
}

// listen opens all ports, so that a port that is taken is known before anything is started.
func (f webFlags) listen() (*listeners, error) {
	l := &listeners{}
	for _, address := range f.ListenAddress {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("--web.listen-address: %w", err)
		}
		l.main = append(l.main, ln)
	}
	if f.CallbackAddress != "" {
		ln, err := net.Listen("tcp", f.CallbackAddress)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("--web.callback-address: %w", err)
		}
		l.callback = ln
	}
	return l, nil
}

func (l *listeners) close() {
	for _, ln := range l.main {
		ln.Close()
	}
	if l.callback != nil {
		l.callback.Close()
	}
}

// loopbackOnly refuses an address that others can reach.
func loopbackOnly(address string) error {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%q is no loopback address such as 127.0.0.1:0", address)
	}
	return nil
}

// externalURL is where people reach this server: as told, else guessed from its first listener. Its path does
// not end in a slash: templates, Alertmanager's own among them, append "/#/alerts" and the like to it.
func (f webFlags) externalURL(l *listeners, listener *toolkit.Config) (*url.URL, error) {
	if f.ExternalURL != "" {
		u, err := url.Parse(f.ExternalURL)
		if err != nil {
			return nil, err
		}
		u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
		return u, nil
	}
	u := &url.URL{Scheme: "http"}
	if listener.TLSConfig.IsEnabled() {
		u.Scheme = "https"
	}
	host, port, err := net.SplitHostPort(l.main[0].Addr().String())
	if err != nil {
		return nil, err
	}
	// An unspecified address is reached by the host's name; a given one, such as loopback, as it is.
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			host = "localhost"
		}
	}
	u.Host = net.JoinHostPort(host, port)
	return u, nil
}

// readListener reads --web.config.file, for what the rest of the program must know of it. The toolkit
// validates and applies it.
func readListener(file string) (*toolkit.Config, error) {
	c := &toolkit.Config{}
	if file == "" {
		return c, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, &failure{exitUsage, fmt.Errorf("--web.config.file: %w", err)}
	}
	if err := toolkit.Validate(file); err != nil {
		return nil, fmt.Errorf("--web.config.file %s: %w", file, err)
	}
	if err := yaml.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("--web.config.file %s: %w", file, err)
	}
	return c, nil
}

// checkCallbacks refuses a listener whose users would lock out Slack and acknowledge links.
func (f webFlags) checkCallbacks(listener *toolkit.Config, plan *config.Plan) error {
	if len(listener.Users) == 0 || f.CallbackAddress != "" || (plan.Slack == nil && len(plan.Pages)+len(plan.Hooks)+len(plan.Twilio)+len(plan.Ntfy) == 0) {
		return nil
	}
	return fmt.Errorf("basic_auth_users in %s would lock out Slack, the acknowledge links in pages and the webhooks of PagerDuty and Opsgenie, which know no password: "+
		"set --web.callback-address to a port for /slack/* and /hooks/* alone", f.ConfigFile)
}

// warnLinks says where acknowledge links end up that a phone cannot follow: without an external URL they
// lead to the listener that asks for a password, not to the one for callbacks.
func (f webFlags) warnLinks(listener *toolkit.Config, plan *config.Plan, log *slog.Logger) {
	if len(listener.Users) > 0 && f.ExternalURL == "" && len(plan.Pages) > 0 {
		log.Warn("Acknowledge links in pages lead to the listener that asks for a password: set --web.external-url to an address whose /hooks/ and /slack/ lead to --web.callback-address")
	}
}

// user tells who a request comes from. The toolkit reads its file for every request and lets nobody past
// who is not in it; reading it here too keeps both of one mind when users are added while tocsin runs.
func (f webFlags) user(r *http.Request) (name string, required bool) {
	if f.ConfigFile == "" {
		return "", false
	}
	listener, err := readListener(f.ConfigFile)
	if err == nil && len(listener.Users) == 0 {
		return "", false
	}
	name, _, _ = r.BasicAuth()
	return name, true
}

// shutdown lets requests that are under way end until ctx does, then cuts them off.
func (s *server) shutdown(ctx context.Context) {
	var wg sync.WaitGroup
	for _, srv := range s.servers {
		wg.Go(func() {
			if srv.Shutdown(ctx) != nil {
				srv.Close()
			}
		})
	}
	wg.Wait()
}

// server serves one handler on one or more listeners.
type server struct {
	servers []*http.Server
	failed  chan error // one value for each listener, nil after a shutdown
}

// serve starts to answer. Each listener has a server of its own, because the toolkit wraps the handler of
// the server that it is given.
func (f webFlags) serve(l *listeners, main, callback http.Handler, log *slog.Logger) *server {
	s := &server{failed: make(chan error, len(l.main)+1)}
	for _, ln := range l.main {
		s.start(ln, main, f.ConfigFile, log)
	}
	if l.callback != nil {
		log.Info("Callbacks alone are served here", "callback_address", l.callback.Addr().String())
		s.start(l.callback, callback, "", log)
	}
	return s
}

func (s *server) start(ln net.Listener, h http.Handler, configFile string, log *slog.Logger) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	s.servers = append(s.servers, srv)
	go func() {
		err := toolkit.Serve(ln, srv, &toolkit.FlagConfig{WebConfigFile: &configFile}, log)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		s.failed <- err
	}()
}
