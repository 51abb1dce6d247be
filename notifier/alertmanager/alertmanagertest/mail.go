package alertmanagertest

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
)

// Mail is a mail server on a loopback port, as far as a client that sends needs one.
type Mail struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu       sync.Mutex // guards what follows
	hang     bool
	conns    map[net.Conn]bool
	messages []string
}

// NewMail listens. The caller closes it.
func NewMail() (*Mail, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m := &Mail{listener: l, conns: map[net.Conn]bool{}}
	m.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.wg.Go(func() { m.serve(c) })
		}
	})
	return m, nil
}

// Address is where it listens.
func (m *Mail) Address() string { return m.listener.Addr().String() }

// Hang makes it take connections and say nothing.
func (m *Mail) Hang() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hang = true
}

// Messages are the mails that arrived whole, in order.
func (m *Mail) Messages() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.messages)
}

// Close breaks all connections and waits for their goroutines.
func (m *Mail) Close() {
	m.listener.Close()
	m.mu.Lock()
	for c := range m.conns {
		c.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
}

func (m *Mail) serve(c net.Conn) {
	defer c.Close()
	m.mu.Lock()
	m.conns[c] = true
	hang := m.hang
	m.mu.Unlock()
	r := bufio.NewReader(c)
	if hang {
		_, _ = r.ReadByte() // until one end closes
		return
	}
	say := func(s string) { fmt.Fprint(c, s+"\r\n") }
	say("220 mail.example ready")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " ")
		switch verb {
		case "EHLO", "HELO", "MAIL", "RCPT", "NOOP", "RSET":
			say("250 fine")
		case "DATA":
			say("354 go on")
			if !m.read(r) {
				return
			}
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 what?")
		}
	}
}

// read takes a mail's text up to the line that is a dot.
func (m *Mail) read(r *bufio.Reader) bool {
	var text strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		if strings.TrimRight(line, "\r\n") == "." {
			break
		}
		text.WriteString(line)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages = append(m.messages, text.String())
	return true
}
