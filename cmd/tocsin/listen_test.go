package main

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"

	promconfig "github.com/prometheus/common/config"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"tocsin/config"
	"tocsin/notifier/pager"
	"tocsin/oncall"
)

// TestAPortThatIsTaken: the flag to change is named, and the ports opened before it are free again.
func TestAPortThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := free.Addr().String()
	free.Close()

	for _, c := range []struct {
		flags webFlags
		flag  string
	}{
		{webFlags{ListenAddress: []string{address}}, "--web.listen-address"},
		{webFlags{ListenAddress: []string{first, address}}, "--web.listen-address"},
		{webFlags{ListenAddress: []string{first}, CallbackAddress: address}, "--web.callback-address"},
	} {
		l, err := c.flags.listen()
		if l != nil || err == nil || !strings.Contains(err.Error(), c.flag) || !strings.Contains(err.Error(), address) {
			t.Errorf("%+v: %v, %v", c.flags, l, err)
		}
		again, err := net.Listen("tcp", first)
		if err != nil {
			t.Fatalf("%+v: the first port is still open: %v", c.flags, err)
		}
		again.Close()
	}
}

// TestLinksThatAskForAPassword: whoever sets users and a callback address learns that links need an address too.
func TestLinksThatAskForAPassword(t *testing.T) {
	users := &toolkit.Config{Users: map[string]promconfig.Secret{"ana": "x"}}
	pages := &config.Plan{Pages: map[oncall.Endpoint]pager.Config{"page:p/0": {}}}
	for _, c := range []struct {
		flags    webFlags
		listener *toolkit.Config
		plan     *config.Plan
		warned   bool
	}{
		{webFlags{CallbackAddress: ":1"}, users, pages, true},
		{webFlags{CallbackAddress: ":1", ExternalURL: "https://tocsin.example"}, users, pages, false},
		{webFlags{CallbackAddress: ":1"}, &toolkit.Config{}, pages, false},
		{webFlags{CallbackAddress: ":1"}, users, &config.Plan{}, false},
	} {
		var log bytes.Buffer
		c.flags.warnLinks(c.listener, c.plan, slog.New(slog.NewTextHandler(&log, nil)))
		if strings.Contains(log.String(), "--web.external-url") != c.warned {
			t.Errorf("%+v: %s", c.flags, log.String())
		}
	}
}

// TestExternalURL: what templates append to it begins with a slash, so it must not end in one.
func TestExternalURL(t *testing.T) {
	for given, want := range map[string]string{
		"https://tocsin.example/":       "https://tocsin.example",
		"https://tocsin.example/am/":    "https://tocsin.example/am",
		"https://tocsin.example/a%2Fm/": "https://tocsin.example/a%2Fm",
		"https://tocsin.example":        "https://tocsin.example",
	} {
		u, err := webFlags{ExternalURL: given}.externalURL(nil, nil)
		if err != nil || u.String() != want {
			t.Errorf("%s: %v, %v", given, u, err)
		}
	}
}
