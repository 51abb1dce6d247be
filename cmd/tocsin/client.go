package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/user"
	"strings"
	"syscall"
	"time"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/version"
)

// maxAnswer bounds what is read of a server's answer.
const maxAnswer = 64 << 20

// clientFlags are those of every command that asks a running tocsin.
type clientFlags struct {
	URL        string        `name:"url" env:"TOCSIN_URL" default:"http://localhost:9093" help:"Address of the running tocsin, with its path prefix; user:password@ before the host authenticates."`
	HTTPConfig string        `name:"http.config.file" env:"TOCSIN_HTTP_CONFIG" placeholder:"FILE" help:"HTTP client settings (basic_auth, tls_config, …), in the format of Prometheus' HTTP client."`
	Timeout    time.Duration `name:"timeout" default:"30s" help:"How long to wait for an answer."`
	Output     string        `name:"output" short:"o" enum:"simple,json" default:"simple" help:"How to print answers: simple or json."`
}

// client speaks the own API.
type client struct {
	base *url.URL // with userinfo, which is never printed
	http *http.Client
	auth bool // credentials are sent, so the server knows who acts
	// request is the identity of what do sends, "" for none: the server does it once.
	request string
	bearer  string // sent as Authorization: Bearer, where the path wants a token of its own; "" for none
}

func (f clientFlags) client() (*client, error) {
	base, err := url.Parse(f.URL)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, &failure{exitUsage, errors.New("--url must be an address such as http://localhost:9093")}
	}
	cfg := promconfig.DefaultHTTPClientConfig
	if f.HTTPConfig != "" {
		loaded, _, err := promconfig.LoadHTTPConfigFile(f.HTTPConfig)
		if err != nil {
			return nil, &failure{exitUsage, fmt.Errorf("--http.config.file: %w", err)}
		}
		cfg = *loaded
	}
	hc, err := promconfig.NewClientFromConfig(cfg, "tocsin")
	if err != nil {
		return nil, &failure{exitUsage, fmt.Errorf("--http.config.file: %w", err)}
	}
	hc.Timeout = f.Timeout
	return &client{base: base, http: hc,
		auth: base.User != nil || cfg.BasicAuth != nil || cfg.Authorization != nil || cfg.OAuth2 != nil}, nil
}

// do asks the server's own API and decodes its answer into v, and returns the answer's bytes too. What the
// server refuses is an error in its own words.
func (c *client) do(ctx context.Context, method, path string, query url.Values, body, v any) ([]byte, error) {
	return c.ask(ctx, method, "api/tocsin/v1/"+path, query, body, v)
}

// ask is do for any path below the server's root. A nil v takes any answer.
func (c *client) ask(ctx context.Context, method, path string, query url.Values, body, v any) ([]byte, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	var send io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		send = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), send)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", version.ComponentUserAgent("tocsin-cli"))
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.request != "" {
		req.Header.Set("Idempotency-Key", c.request)
	}
	if c.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode/100 != 2 {
		return answer, c.refused(resp, answer)
	}
	if v == nil {
		return answer, nil
	}
	if err := json.Unmarshal(answer, v); err != nil {
		return nil, fmt.Errorf("%s answers, but not as tocsin does: is that another program's port?", c.base.Redacted())
	}
	return answer, nil
}

// unreachable says what a person can do about a server that does not answer.
func (c *client) unreachable(err error) error {
	where := c.base.Redacted()
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens at %s: is tocsin running? (--url or TOCSIN_URL says where)", where)
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		if ue.Timeout() {
			return fmt.Errorf("%s does not answer in time", where)
		}
		err = ue.Err // without the address, which may hold a password
	}
	return fmt.Errorf("%s cannot be reached: %w", where, err)
}

// refused turns a server's refusal into an error.
func (c *client) refused(resp *http.Response, answer []byte) error {
	var e struct {
		Error string `json:"error"`
	}
	var m struct {
		Message string `json:"message"`
	}
	var text string
	switch {
	case resp.StatusCode == http.StatusUnauthorized && strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), `Bearer realm="heartbeat"`):
		return errors.New("this heartbeat wants its token: --token-file, or TOCSIN_HEARTBEAT_TOKEN")
	case resp.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%s wants to know who you are: put user:password@ into --url, or use --http.config.file", c.base.Redacted())
	case json.Unmarshal(answer, &e) == nil && e.Error != "":
		return errors.New(e.Error)
	case json.Unmarshal(answer, &text) == nil && text != "": // the alert API answers with a sentence alone
		return errors.New(text)
	case json.Unmarshal(answer, &m) == nil && m.Message != "": // or as its framework does
		return errors.New(m.Message)
	case resp.StatusCode == http.StatusNotFound && len(answer) == 0: // as the alert API says of a silence
		return errors.New("not found")
	}
	return fmt.Errorf("%s answers %s, and not as tocsin does: is that another program's port?", c.base.Redacted(), resp.Status)
}

// actor is the name to act under: the one given, else the login name, else none where the server knows it
// already.
func (c *client) actor(given string) string {
	if given != "" || c.auth {
		return given
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// printJSON prints an answer for programs: as the server sent it, indented.
func printJSON(w io.Writer, answer []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, answer, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, strings.TrimSpace(b.String()))
	return err
}
