package slacktest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
)

// Dial connects to the server in memory, for Socket Mode in tests in a synctest bubble.
func (s *Server) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if _, hit := s.strike("link", "", true); hit {
		return nil, refused()
	}
	here, there := net.Pipe()
	go func() {
		r, err := http.ReadRequest(bufio.NewReader(there))
		if err != nil {
			there.Close()
			return
		}
		s.ServeHTTP(&pipeWriter{conn: there, header: http.Header{}}, r)
		there.Close()
	}()
	return here, nil
}

// pipeWriter is the least of a ResponseWriter that a WebSocket needs.
type pipeWriter struct {
	conn   net.Conn
	header http.Header
	status int
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) { w.status = status }

func (w *pipeWriter) Write(b []byte) (int, error) {
	resp := http.Response{StatusCode: w.status, ProtoMajor: 1, ProtoMinor: 1, Header: w.header, Body: io.NopCloser(bytes.NewReader(b)), ContentLength: int64(len(b))}
	return len(b), resp.Write(w.conn)
}

func (w *pipeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}
