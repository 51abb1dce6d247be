package store

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Processes that share a PostgreSQL database tell each other what they committed, so that the one that works
// need not find it out by asking. It asks all the same, every second: what is lost here is late, not lost.

// notifyChannel is where the processes tell each other. It belongs to the database.
const notifyChannel = "tocsin"

const (
	listenRetry = time.Second      // after a failure
	listenQuiet = 30 * time.Second // without a word, before the connection is asked whether it lives
	listenReply = 5 * time.Second  // for the answer to that
)

// told is what one process tells the others: who it is, and the topics.
func told(sender string, t Topics) string {
	var b strings.Builder
	b.WriteString(sender)
	for _, topic := range t.named() {
		if *topic.is {
			b.WriteString(" " + topic.name)
		}
	}
	return b.String()
}

// heard reads what told wrote.
func heard(payload string) (sender string, t Topics) {
	words := strings.Fields(payload)
	if len(words) == 0 {
		return "", t
	}
	for _, w := range words[1:] {
		for _, topic := range t.named() {
			if topic.name == w {
				*topic.is = true
			}
		}
	}
	return words[0], t
}

type namedTopic struct {
	name string
	is   *bool
}

func (t *Topics) named() []namedTopic {
	return []namedTopic{{"alert_changes", &t.AlertChanges}, {"incidents", &t.Incidents}, {"deliveries", &t.Deliveries},
		{"received", &t.Received}, {"silences", &t.Silences}, {"overrides", &t.Overrides}, {"heartbeats", &t.Heartbeats}}
}

func allTopics() (t Topics) {
	for _, topic := range t.named() {
		*topic.is = true
	}
	return t
}

// commitAndTell is a statement that commits and tells the others, in one message to the server. Neither the
// sender nor a topic has a character that would need quoting.
func commitAndTell(sender string, t Topics) (statement string, args []any) {
	return fmt.Sprintf("select pg_notify('%s', '%s'); commit", notifyChannel, told(sender, t)), []any{pgx.QueryExecModeSimpleProtocol}
}

// listener passes on what other processes tell.
type listener struct {
	c         *pgx.ConnConfig
	sender    string // this process
	log       *slog.Logger
	committed func(Topics)
	end       context.CancelFunc
	done      chan struct{} // closed when the goroutine has ended
}

func startListener(c *pgx.ConnConfig, sender string, log *slog.Logger, committed func(Topics)) *listener {
	ctx, cancel := context.WithCancel(context.Background())
	l := &listener{c: c.Copy(), sender: sender, log: log, committed: committed, end: cancel, done: make(chan struct{})}
	go l.loop(ctx)
	return l
}

// close returns when the goroutine has ended.
func (l *listener) close() error {
	l.end()
	<-l.done
	return nil
}

func (l *listener) loop(ctx context.Context) {
	defer close(l.done)
	for first, failing := true, false; ; first = false {
		listened, err := l.listen(ctx, first)
		if ctx.Err() != nil {
			return
		}
		if listened || !failing {
			l.log.Warn("What other processes commit is noticed late: the connection for it failed", "err", withheld(err, l.c))
		}
		failing = true
		select {
		case <-ctx.Done():
			return
		case <-time.After(listenRetry):
		}
	}
}

// listen passes on what it hears until that fails. listened says that it could listen at all. Except at first,
// something may have been said before that nobody heard.
func (l *listener) listen(ctx context.Context, first bool) (listened bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, l.c)
	if err != nil {
		return false, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn.Close(closing) //nolint:errcheck // it is not needed any more
	}()
	if _, err := conn.Exec(ctx, "listen "+notifyChannel); err != nil {
		return false, err
	}
	if !first {
		l.committed(allTopics())
	}
	for {
		waiting, cancel := context.WithTimeout(ctx, listenQuiet)
		n, err := conn.WaitForNotification(waiting)
		cancel()
		switch {
		case err == nil:
			if sender, topics := heard(n.Payload); sender != l.sender && topics != (Topics{}) {
				l.committed(topics)
			}
		case ctx.Err() != nil || !pgconn.Timeout(err):
			return true, err
		default:
			asking, cancel := context.WithTimeout(ctx, listenReply)
			err := conn.Ping(asking)
			cancel()
			if err != nil {
				return true, err
			}
		}
	}
}
