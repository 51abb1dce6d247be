package store

import (
	"context"
	"database/sql"
	"time"

	"tocsin/oncall"
)

// The log of what was received: appended by everybody, read in order by the dispatcher, and trimmed by its
// checkpoints (sweep.go). Its numbers are in the order of commits, so that who has read up to one of them
// finds everything else after it.

const (
	rowAlerts  = 1000      // alerts or changes that go into one row of the log
	rowBytes   = 256 << 10 // about so many bytes go into one row
	batchBytes = 4 << 20   // about so many bytes of rows are read at once
)

// Receive appends what was posted to the log: as one row, or as several, each with a commit of its own, where
// there is so much that pages would have to wait for it. After nil all of it is on disk. An error has
// oncall.CodeUnavailable, and whoever posted should post again: the beginning may be in the log, which does no harm.
func (s *Store) Receive(ctx context.Context, w oncall.Write, posted []oncall.PostedAlert) error {
	for len(posted) > 0 {
		n := rowOf(posted)
		body := oncall.PackReceived(oncall.Received{At: w.Now, Posted: posted[:n]})
		posted = posted[n:]
		row := w
		if len(posted) > 0 {
			row.Request = "" // is remembered with the last row
		}
		_, err := do(ctx, s, row, func(t *tx) (struct{}, error) {
			return struct{}{}, t.appendReceived(w.Now, [][]byte{body})
		})
		if err != nil {
			return notReceived(err)
		}
	}
	return nil
}

// notReceived makes an error of the store one that tells the sender to try again.
func notReceived(err error) error {
	if oncall.ErrorCode(err) != oncall.CodeInternal {
		return err
	}
	return &oncall.Error{Code: oncall.CodeUnavailable, Message: "what was posted could not be kept", Cause: err}
}

// rowOf returns how many of the alerts go into one row, one at least.
func rowOf(posted []oncall.PostedAlert) int {
	var size uint64
	for i := range posted {
		p := &posted[i]
		size += p.Labels.ByteSize() + p.Annotations.ByteSize() + uint64(len(p.GeneratorURL))
		if i > 0 && (i == rowAlerts || size > rowBytes) {
			return i
		}
	}
	return len(posted)
}

// packChanges returns the rows of the log that hold the changes of one evaluation.
func packChanges(at time.Time, cs []oncall.AlertChange) (bodies [][]byte) {
	for len(cs) > 0 {
		n := min(len(cs), rowAlerts)
		bodies = append(bodies, oncall.PackReceived(oncall.Received{At: at, Changes: cs[:n]}))
		cs = cs[n:]
	}
	return bodies
}

// appendReceived puts rows at the end of the log.
func (t *tx) appendReceived(at time.Time, bodies [][]byte) error {
	if len(bodies) == 0 {
		return nil
	}
	seq, err := t.take("received", len(bodies))
	if err != nil {
		return err
	}
	t.mine.Received = true
	b := t.insert("received", "seq", "at", "body")
	for i, body := range bodies {
		if err := b.add(seq+int64(i), micros(at), body); err != nil {
			return err
		}
	}
	return b.flush()
}

// ReceivedAfter returns the log after a Seq, oldest first: at most limit rows, and no more after about 4 MB.
func (s *Store) ReceivedAfter(ctx context.Context, seq int64, limit int) ([]oncall.Received, error) {
	type row struct {
		seq, at int64
		body    []byte
	}
	var rows []row
	err := s.view(ctx, func(q queryer) error {
		last, err := lastOfBatch(q, seq, limit)
		if err != nil || last == 0 {
			return err
		}
		return each(q, "select seq, at, body from received where seq > $1 and seq <= $2 order by seq", []any{seq, last}, func(r *sql.Rows) error {
			var x row
			err := r.Scan(&x.seq, &x.at, &x.body)
			rows = append(rows, x)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	out := make([]oncall.Received, len(rows))
	for i, x := range rows {
		r, err := oncall.UnpackReceived(x.body)
		if err != nil {
			return nil, oncall.Errorf(oncall.CodeInternal, "row %d of the log of received alerts cannot be read: %v", x.seq, err)
		}
		r.Seq, r.At = x.seq, fromMicros(x.at)
		out[i], rows[i].body = r, nil
	}
	return out, nil
}

// lastOfBatch returns the last row of a batch that begins after seq, 0 if there is none. Rows may be large:
// how many to read is decided by their sizes first.
func lastOfBatch(q queryer, seq int64, limit int) (last int64, err error) {
	var bytes int64
	err = each(q, "select seq, length(body) from received where seq > $1 order by seq limit $2", []any{seq, limit}, func(r *sql.Rows) error {
		var at, size int64
		if bytes >= batchBytes {
			return nil
		}
		if err := r.Scan(&at, &size); err != nil {
			return err
		}
		last = at
		bytes += size
		return nil
	})
	return last, err
}
