package prometheus

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// idleConns is how many connections are kept, and idleFor how long one is.
	idleConns = 32
	idleFor   = 30 * time.Second
	// Bounds of a response's head.
	headLine  = 16 << 10
	headLines = 256
)

// wire speaks HTTP/1.1 over plain TCP: a request in one write, an answer read in place, no goroutine and next
// to no garbage per query. A query costs it a third of what net/http costs, which is most of what a quiet
// evaluator does. It knows POST, Content-Length, chunks, and bodies that end with the connection; what needs
// more (TLS, proxies, credentials) goes by net/http.
//
// A connection is used again only after an answer that was read to its end, and never with bytes that came
// unasked: an answer cannot be taken for that of another query.
type wire struct {
	address string
	line    []byte // every request begins with it
	dial    dialFunc

	mu     sync.Mutex
	idle   []*wireConn // the one used last at the end
	closed bool
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// wireConn is a connection. It belongs to one query at a time.
type wireConn struct {
	net.Conn
	r    *bufio.Reader
	out  []byte    // the request
	at   time.Time // when it became idle
	used bool      // has answered before
}

// wireBody is an answer's body; release ends its use.
type wireBody struct {
	io.Reader
	w       *wire
	c       *wireConn
	stop    func() bool // ends the watch over the context
	chunked bool
	closing bool // the connection ends with the body
}

// newWire returns a wire to u.
func newWire(u *url.URL, dial dialFunc) *wire {
	w := &wire{address: u.Host, dial: dial}
	if u.Port() == "" {
		w.address = net.JoinHostPort(u.Hostname(), "80")
	}
	w.line = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\n", u.RequestURI(), u.Host)
	return w
}

// errStale says that a kept connection turned out to be dead before anything was answered: ask on another.
var errStale = errors.New("the connection was closed while idle")

// post sends a request and reads the head of its answer, which must be released. Names and values must be
// fit for a header.
func (w *wire) post(ctx context.Context, header [][2]string, body []byte) (*response, error) {
	for {
		c, err := w.conn(ctx)
		if err != nil {
			return nil, err
		}
		res, err := w.ask(ctx, c, header, body)
		if err == nil {
			return res, nil
		}
		_ = c.Close()
		if cause := ctx.Err(); cause != nil {
			return nil, cause
		}
		if !errors.Is(err, errStale) {
			return nil, err
		}
	}
}

// conn takes an idle connection, or makes one.
func (w *wire) conn(ctx context.Context) (*wireConn, error) {
	for {
		w.mu.Lock()
		n := len(w.idle)
		if n == 0 {
			w.mu.Unlock()
			break
		}
		c := w.idle[n-1]
		w.idle[n-1] = nil
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		if time.Since(c.at) < idleFor && quiet(c.Conn) {
			return c, nil
		}
		_ = c.Close()
	}
	nc, err := w.dial(ctx, "tcp", w.address)
	if err != nil {
		return nil, err
	}
	return &wireConn{Conn: nc, r: bufio.NewReaderSize(nc, headLine)}, nil
}

func (w *wire) ask(ctx context.Context, c *wireConn, header [][2]string, body []byte) (*response, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	c.out = append(c.out[:0], w.line...)
	for _, h := range header {
		c.out = append(append(append(append(c.out, h[0]...), ": "...), h[1]...), "\r\n"...)
	}
	c.out = append(c.out, "Content-Length: "...)
	c.out = strconv.AppendInt(c.out, int64(len(body)), 10)
	c.out = append(c.out, "\r\n\r\n"...)
	c.out = append(c.out, body...)
	_, err := c.Write(c.out)
	if err == nil {
		_, err = c.r.Peek(1)
	}
	if err != nil {
		stop()
		if c.used && ctx.Err() == nil {
			return nil, errStale
		}
		return nil, err
	}
	res, err := w.readHead(c, stop)
	if err != nil {
		stop()
		return nil, err
	}
	if res.status == 408 && c.used { // how some proxies say that the connection was idle for too long
		stop()
		return nil, errStale
	}
	c.used = true
	return res, nil
}

// release drains what little may be left of a body, and keeps the connection where it is clean.
func (b *wireBody) release() {
	clean := b.drained()
	if !b.stop() || !clean || b.closing || b.c.r.Buffered() > 0 {
		_ = b.c.Close()
		return
	}
	if cap(b.c.out) > 64<<10 {
		b.c.out = nil
	}
	b.c.at = time.Now()
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if b.w.closed || len(b.w.idle) >= idleConns {
		_ = b.c.Close()
		return
	}
	b.w.idle = append(b.w.idle, b.c)
}

// drained reports that the body was read to its end.
func (b *wireBody) drained() bool {
	if _, err := io.CopyN(io.Discard, b.Reader, 4<<10); !errors.Is(err, io.EOF) {
		return false
	}
	for range headLines { // trailers, and the line that ends them
		if !b.chunked {
			return true
		}
		line, err := readLine(b.c.r)
		if err != nil {
			return false
		}
		if len(line) == 0 {
			return true
		}
	}
	return false
}

// close ends the idle connections; those in use end with their release.
func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, c := range w.idle {
		_ = c.Close()
	}
	w.idle = nil
}

// readHead reads a status line and headers.
func (w *wire) readHead(c *wireConn, stop func() bool) (*response, error) {
	for range 4 { // a few interim answers may come first
		h := wireHead{length: -1}
		if err := h.read(c.r); err != nil {
			return nil, err
		}
		if h.status >= 100 && h.status < 200 {
			if h.status == 101 {
				break
			}
			continue
		}
		b := &wireBody{w: w, c: c, stop: stop, chunked: h.chunked, closing: h.closing}
		switch {
		case h.status == 204 || h.status == 304:
			b.Reader, b.chunked = strings.NewReader(""), false
		case h.chunked:
			b.Reader = httputil.NewChunkedReader(c.r)
		case h.length >= 0:
			b.Reader = &limited{r: c.r, left: h.length}
		default:
			b.Reader, b.closing = c.r, true
		}
		return &response{status: h.status, contentType: h.contentType, encoding: h.encoding, location: h.location,
			body: b, release: b.release}, nil
	}
	return nil, errors.New("the answer is no HTTP answer to a query")
}

// limited reads exactly left bytes; fewer are an error.
type limited struct {
	r    *bufio.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.r.Read(p)
	l.left -= int64(n)
	if l.left > 0 && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// wireHead is what matters of a response's head.
type wireHead struct {
	status                          int
	length                          int64 // -1: not said
	chunked, closing                bool
	contentType, encoding, location string
}

func (h *wireHead) read(r *bufio.Reader) error {
	line, err := readLine(r)
	if err != nil {
		return err
	}
	version, rest, _ := bytes.Cut(line, []byte(" "))
	code, _, _ := bytes.Cut(rest, []byte(" "))
	minor, ok := bytes.CutPrefix(version, []byte("HTTP/1."))
	if !ok || len(minor) != 1 || len(code) != 3 {
		return fmt.Errorf("the answer is not HTTP/1: %s", short(string(line)))
	}
	if h.status, err = strconv.Atoi(string(code)); err != nil || h.status < 100 {
		return fmt.Errorf("the answer is not HTTP/1: %s", short(string(line)))
	}
	h.closing = minor[0] == '0'
	for range headLines {
		if line, err = readLine(r); err != nil {
			return err
		}
		if len(line) == 0 {
			if h.chunked && h.length >= 0 { // two lengths: the connection is not to be trusted after them
				h.length, h.closing = -1, true
			}
			return nil
		}
		if err := h.field(line); err != nil {
			return err
		}
	}
	return errors.New("the answer has too many headers")
}

// field takes one header over.
func (h *wireHead) field(line []byte) error {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") {
		return fmt.Errorf("a header of the answer is malformed: %s", short(string(line)))
	}
	value = bytes.Trim(value, " \t")
	switch {
	case is(name, "Content-Length"):
		n, err := strconv.ParseUint(string(value), 10, 62)
		if err != nil || h.length >= 0 && h.length != int64(n) {
			return fmt.Errorf("the answer's Content-Length is not one number: %s", short(string(value)))
		}
		h.length = int64(n)
	case is(name, "Transfer-Encoding"):
		if !is(value, "chunked") || h.chunked {
			return fmt.Errorf("the answer's Transfer-Encoding is not supported: %s", short(string(value)))
		}
		h.chunked = true
	case is(name, "Connection"):
		for _, token := range strings.Split(string(value), ",") {
			h.closing = h.closing || strings.EqualFold(strings.TrimSpace(token), "close")
		}
	case is(name, "Content-Type"):
		h.contentType = string(value)
	case is(name, "Content-Encoding"):
		h.encoding = string(value)
	case is(name, "Location"):
		h.location = string(value)
	}
	return nil
}

func is(got []byte, want string) bool {
	return len(got) == len(want) && strings.EqualFold(string(got), want)
}

// readLine reads a line without its end. It is valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, errors.New("a header of the answer is too long")
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}
