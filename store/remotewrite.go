package store

import (
	"context"
	"database/sql"

	"tocsin/oncall"
)

// The queue of remote_write: appended, read from its beginning, and deleted from its beginning.

// AppendSeries puts batches at the end of the queue, in order, and before that takes out as many of the
// oldest as hold free bytes (0: none). It returns what was taken out.
func (s *Store) AppendSeries(ctx context.Context, w oncall.Write, batches []oncall.QueuedSeries, free int64) (dropped oncall.QueueSize, err error) {
	if len(batches) == 0 {
		return dropped, nil
	}
	return do(ctx, s, w, func(t *tx) (oncall.QueueSize, error) {
		dropped, err := t.freeSeries(free)
		if err != nil {
			return dropped, err
		}
		seq, err := t.take("remote_write", len(batches))
		if err != nil {
			return dropped, err
		}
		b := t.insert("remote_writes", "seq", "at", "samples", "body")
		for i, q := range batches {
			if err := b.add(seq+int64(i), micros(q.At), q.Samples, q.Body); err != nil {
				return dropped, err
			}
		}
		return dropped, b.flush()
	})
}

// freeSeries takes out the oldest batches until they held free bytes together.
func (t *tx) freeSeries(free int64) (dropped oncall.QueueSize, err error) {
	for dropped.Bytes < free {
		got, err := loadSeries(t, seriesHead, free-dropped.Bytes)
		if err != nil || len(got) == 0 {
			return dropped, err
		}
		size, err := t.deleteSeries(got[len(got)-1].Seq)
		if err != nil {
			return dropped, err
		}
		dropped.Batches += size.Batches
		dropped.Samples += size.Samples
		dropped.Bytes += size.Bytes
	}
	return dropped, nil
}

// PeekSeries returns the first batches of the queue, in order: as many as hold maxBytes together, but one
// at least, if there is one.
func (s *Store) PeekSeries(ctx context.Context, maxBytes int64) (qs []oncall.QueuedSeries, err error) {
	err = s.view(ctx, func(q queryer) error {
		head, err := loadSeries(q, seriesHead, maxBytes)
		if err != nil || len(head) == 0 {
			return err
		}
		qs, err = loadSeries(q, seriesRows, maxBytes, head[len(head)-1].Seq)
		return err
	})
	return qs, err
}

// seriesHead and seriesRows read the beginning of the queue, without and with bodies. Bodies may be large:
// how many rows to read is decided by their sizes first.
const (
	seriesHead = "select seq, at, samples, length(body), null from remote_writes order by seq limit 500"
	seriesRows = "select seq, at, samples, length(body), body from remote_writes where seq <= $1 order by seq"
)

// loadSeries returns the first rows that hold maxBytes together, one at least.
func loadSeries(q queryer, query string, maxBytes int64, args ...any) (qs []oncall.QueuedSeries, err error) {
	var bytes int64
	full := false
	err = each(q, query, args, func(r *sql.Rows) error {
		var b oncall.QueuedSeries
		var at, size int64
		if full {
			return nil
		}
		if err := r.Scan(&b.Seq, &at, &b.Samples, &size, &b.Body); err != nil {
			return err
		}
		b.At = fromMicros(at)
		bytes += size
		full = bytes >= maxBytes
		qs = append(qs, b)
		return nil
	})
	return qs, err
}

// DeleteSeries takes everything up to the batch through out of the queue, and returns how much that was.
func (s *Store) DeleteSeries(ctx context.Context, w oncall.Write, through int64) (oncall.QueueSize, error) {
	return do(ctx, s, w, func(t *tx) (oncall.QueueSize, error) { return t.deleteSeries(through) })
}

func (t *tx) deleteSeries(through int64) (oncall.QueueSize, error) {
	size, err := seriesSize(t, "where seq <= $1", through)
	if err != nil || size.Batches == 0 {
		return size, err
	}
	return size, t.exec1("delete from remote_writes where seq <= $1", through)
}

// QueuedSeries returns how much the queue holds.
func (s *Store) QueuedSeries(ctx context.Context) (size oncall.QueueSize, err error) {
	err = s.view(ctx, func(q queryer) error {
		size, err = seriesSize(q, "")
		return err
	})
	return size, err
}

func seriesSize(q queryer, where string, args ...any) (size oncall.QueueSize, err error) {
	var oldest int64
	_, err = one(q, "select count(*), coalesce(sum(samples), 0), coalesce(sum(length(body)), 0), coalesce(min(at), 0) from remote_writes "+where,
		args, &size.Batches, &size.Samples, &size.Bytes, &oldest)
	size.Oldest = fromMicros(oldest)
	return size, err
}
