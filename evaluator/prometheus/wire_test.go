package prometheus

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	promconfig "github.com/prometheus/common/config"

	"tocsin/evaluator"
)

// rawServer answers each request on each connection by what respond writes; respond is told how many requests
// came on that connection before. It returns false to end the connection.
type rawServer struct {
	l     net.Listener
	conns atomic.Int64
}

func newRawServer(t *testing.T, respond func(c net.Conn, n int) bool) *rawServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{l: l}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			go func() {
				defer c.Close() //nolint:errcheck // a test's connection
				r := bufio.NewReader(c)
				for n := 0; ; n++ {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					if !respond(c, n) {
						return
					}
				}
			}()
		}
	}()
	return s
}

func (s *rawServer) client(t *testing.T, way string) *Client {
	t.Helper()
	c, err := New(Config{URL: &url.URL{Scheme: "http", Host: s.l.Addr().String()}, HTTP: promconfig.DefaultHTTPClientConfig},
		func(o *options) { o.netHTTP = way == "net/http" })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

const empty = `{"status":"success","data":{"resultType":"vector","result":[]}}`

func full(head string) string {
	return head + "Content-Type: application/json\r\nContent-Length: " + fmt.Sprint(len(empty)) + "\r\n\r\n" + empty
}

// TestResponses: what a server may send, and what becomes of it by either way; and whether the connection is
// used for the query after it.
func TestResponses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tc := range []struct {
		name, response string
		error          string // in the message; "" for none
		again          bool   // on the same connection
		differs        bool   // net/http sees it in its own way, or waits for more
	}{
		{"length", full(ok), "", true, false},
		{"lower case", strings.Replace(full(ok), "Content-Length: ", "content-length:", 1), "", true, false},
		{"bare newlines", strings.ReplaceAll(full(ok), "\r\n", "\n"), "", true, false},
		{"no reason", full("HTTP/1.1 200\r\n"), "", true, false},
		{"interim answer", "HTTP/1.1 100 Continue\r\n\r\n" + full(ok), "", true, false},
		{"HTTP/1.0", full("HTTP/1.0 200 OK\r\n"), "", false, false},
		{"says that it closes", full(ok + "Connection: Close\r\n"), "", false, false},
		{"chunks", ok + "Transfer-Encoding: chunked\r\n\r\n" + "5;x=y\r\n" + empty[:5] + "\r\n" + fmt.Sprintf("%x\r\n", len(empty)-5) + empty[5:] + "\r\n0\r\n\r\n", "", true, false},
		{"chunks with trailers", ok + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n", len(empty)) + empty + "\r\n0\r\nX: y\r\n\r\n", "", true, false},
		{"more than its length", full(ok) + "x", "", false, true},

		{"no HTTP", "SSH-2.0-x\r\n", "SSH-2.0-x", false, false},
		{"no status", "HTTP/1.1 ok\r\n\r\n", "not HTTP/1", false, true},
		{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", "not HTTP/1", false, true},
		{"switching protocols", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "", false, true},
		{"two lengths", ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxxx", "Content-Length", false, true},
		{"no number as length", ok + "Content-Length: +5\r\n\r\nxxxxx", "Content-Length", false, true},
		{"another encoding", ok + "Transfer-Encoding: gzip\r\n\r\nx", "Transfer-Encoding is not supported", false, true},
		{"folded header", ok + "X: y\r\n z\r\n\r\n", "malformed", false, true},
		{"space before colon", ok + "Content-Length : 5\r\n\r\nxxxxx", "malformed", false, true},
		{"endless header", ok + "X: " + strings.Repeat("y", 2<<20) + "\r\n\r\n", "too long", false, true},
		{"endless headers", ok + strings.Repeat("X: y\r\n", 1<<20), "too many headers", false, true},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", "cut off", true, false},
		{"not modified", "HTTP/1.1 304 Not Modified\r\n\r\n", "redirects (304)", true, true},
	} {
		for _, way := range ways[1:] {
			if tc.differs && way == "net/http" {
				continue
			}
			t.Run(tc.name+"/"+way, func(t *testing.T) {
				s := newRawServer(t, func(c net.Conn, _ int) bool {
					_, err := io.WriteString(c, tc.response)
					return err == nil
				})
				c := s.client(t, way)
				for range 2 {
					_, err := c.Query(t.Context(), "up", at)
					switch {
					case tc.name == "switching protocols":
						if err == nil {
							t.Error("taken for an answer")
						}
					case tc.error == "":
						if err != nil {
							t.Fatal(err)
						}
					default:
						checkError(t, err, tc.error, evaluator.BackendError)
					}
				}
				if n := s.conns.Load(); (n == 1) != tc.again {
					t.Errorf("%d connections", n)
				}
			})
		}
	}
}

// TestEndOfConnection: an answer that ends with the connection is whole only if nothing said that more comes.
func TestEndOfConnection(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	for _, tc := range []struct{ name, response, error string }{
		{"ends with the connection", ok + "\r\n" + empty, ""},
		{"shorter than its length", ok + "Content-Length: 500\r\n\r\n" + empty, "cut off"},
		{"nothing", "", "cannot be reached"},
		{"half a head", ok, "cut off"},
		{"half a chunk", ok + "Transfer-Encoding: chunked\r\n\r\nff\r\n" + empty, "cut off"},
		{"no last chunk", ok + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n", len(empty)) + empty + "\r\n", "cut off"},
		{"half an answer", ok + "\r\n" + empty[:20], "cut off"},
	} {
		for _, way := range ways[1:] {
			t.Run(tc.name+"/"+way, func(t *testing.T) {
				s := newRawServer(t, func(c net.Conn, _ int) bool { _, _ = io.WriteString(c, tc.response); return false })
				_, err := s.client(t, way).Query(t.Context(), "up", at)
				switch {
				case tc.error == "" && err != nil:
					t.Error(err)
				case tc.error != "" && tc.name == "half a head":
					checkError(t, err, "cannot be reached", evaluator.BackendError)
				case tc.error != "":
					checkError(t, err, tc.error, evaluator.BackendError)
				}
			})
		}
	}
}

// TestIdleConnections: a connection that the server closed, or used for something that nobody asked for, is not
// asked again; the query does not notice.
func TestIdleConnections(t *testing.T) {
	ok := full("HTTP/1.1 200 OK\r\n")
	closed := make(chan struct{}, 16)
	for name, respond := range map[string]func(c net.Conn, n int) bool{
		"closed": func(c net.Conn, _ int) bool { _, _ = io.WriteString(c, ok); return false },
		"unsolicited": func(c net.Conn, _ int) bool {
			_, _ = io.WriteString(c, ok+strings.Replace(ok, "vector", "matrix", 1))
			return true
		},
		"408": func(c net.Conn, n int) bool {
			_, _ = io.WriteString(c, map[bool]string{true: ok, false: "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"}[n == 0])
			return n == 0
		},
		"closed when used": func(c net.Conn, n int) bool {
			if n == 0 {
				_, _ = io.WriteString(c, ok)
			}
			return n == 0
		},
	} {
		for _, way := range ways[1:] {
			if way == "net/http" && (name == "408" || name == "closed when used") {
				continue // it repeats no POST whose connection died after it was sent
			}
			t.Run(name+"/"+way, func(t *testing.T) {
				s := newRawServer(t, func(c net.Conn, n int) bool {
					more := respond(c, n)
					if !more {
						_ = c.Close()
					}
					closed <- struct{}{}
					return more
				})
				client := s.client(t, way)
				for range 3 {
					if _, err := client.Query(t.Context(), "up", at); err != nil {
						t.Fatal(err)
					}
					<-closed
				}
			})
		}
	}
}

// TestHangingServer: a server that does not answer, stops in its head or in its body, costs the query's time and
// no more, whether the time ends or somebody breaks the query off.
func TestHangingServer(t *testing.T) {
	for name, start := range map[string]string{"nothing": "", "head": "HTTP/1.1 200 OK\r\nContent-", "body": full("HTTP/1.1 200 OK\r\n")[:100]} {
		for _, way := range ways[1:] {
			t.Run(name+"/"+way, func(t *testing.T) {
				asked := make(chan struct{}, 4)
				end := make(chan struct{})
				defer close(end)
				s := newRawServer(t, func(c net.Conn, _ int) bool {
					_, _ = io.WriteString(c, start)
					asked <- struct{}{}
					<-end
					return false
				})
				c := s.client(t, way)
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				_, err := c.Query(ctx, "up", at)
				checkError(t, err, "did not answer in time", evaluator.BackendError)
				<-asked
				ctx, cancel = context.WithCancel(t.Context())
				go func() { <-asked; cancel() }()
				_, err = c.Query(ctx, "up", at)
				checkError(t, err, "broken off", evaluator.BackendError)
				if c.wire != nil && len(c.wire.idle) > 0 {
					t.Error("a connection with half an answer is kept")
				}
			})
		}
	}
}

// TestWireIsChosen for plain HTTP without anything else only.
func TestWireIsChosen(t *testing.T) {
	u := func(s string) *url.URL { u, _ := url.Parse(s); return u }
	def := promconfig.DefaultHTTPClientConfig
	basic, proxied, env := def, def, def
	basic.BasicAuth = &promconfig.BasicAuth{Username: "ana"}
	proxied.ProxyURL = promconfig.URL{URL: u("http://proxy:3128")}
	env.ProxyFromEnvironment = true
	for _, tc := range []struct {
		cfg  Config
		want bool
	}{
		{Config{URL: u("http://prom:9090/x"), HTTP: def, Headers: map[string]string{"X-Scope-OrgID": "a"}}, true},
		{Config{URL: u("http://prom")}, true},
		{Config{URL: u("https://prom"), HTTP: def}, false},
		{Config{URL: u("http://a:b@prom"), HTTP: def}, false},
		{Config{URL: u("http://prom"), HTTP: basic}, false},
		{Config{URL: u("http://prom"), HTTP: proxied}, false},
		{Config{URL: u("http://prom"), HTTP: env}, false},
	} {
		c, err := New(tc.cfg)
		if err != nil || (c.wire != nil) != tc.want {
			t.Errorf("%s %+v: wire %t, %v", tc.cfg.URL, tc.cfg.HTTP, c.wire != nil, err)
		}
	}
}

func BenchmarkQuery(b *testing.B) {
	for _, way := range ways[1:] {
		b.Run(way, func(b *testing.B) {
			srv := newBenchServer(b)
			c, err := New(Config{URL: &url.URL{Scheme: "http", Host: srv}, HTTP: promconfig.DefaultHTTPClientConfig},
				func(o *options) { o.netHTTP = way == "net/http" })
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			var reuse evaluator.Reuse
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.QueryInto(b.Context(), "up > 80", at, &reuse); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// newBenchServer answers with as little work as possible, so that the client's is seen.
func newBenchServer(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	answer := []byte(full("HTTP/1.1 200 OK\r\n"))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close() //nolint:errcheck // a test's connection
				buf := make([]byte, 4096)
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}
