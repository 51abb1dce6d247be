package store

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"

	"tocsin/oncall"
)

// Secret returns the secret of that name, size random bytes made when it is first asked for and kept from
// then on. It is the same for all processes that share the database.
func (s *Store) Secret(ctx context.Context, name string, size int) ([]byte, error) {
	fresh := make([]byte, size)
	rand.Read(fresh) //nolint:errcheck // never fails
	text, err := s.keep(ctx, "secret:"+name, base64.StdEncoding.EncodeToString(fresh))
	if err != nil {
		return nil, err
	}
	secret, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(secret) != size {
		return nil, oncall.Errorf(oncall.CodeInternal, "the secret %q in the database does not have %d bytes", name, size)
	}
	return secret, nil
}

// InstanceID returns eight hex digits that tell this database from others; they are part of every
// incident's key.
func (s *Store) InstanceID(ctx context.Context) (string, error) {
	fresh := make([]byte, 4)
	rand.Read(fresh) //nolint:errcheck // never fails
	return s.keep(ctx, "instance", hex.EncodeToString(fresh))
}

// keep returns the value of that name, which is fresh if there was none.
func (s *Store) keep(ctx context.Context, name, fresh string) (string, error) {
	var value string
	var found bool
	if err := s.view(ctx, func(q queryer) (err error) {
		found, err = one(q, "select value from meta where name = $1", []any{name}, &value)
		return err
	}); err != nil || found {
		return value, err
	}
	return do(ctx, s, oncall.Write{Urgent: true}, func(t *tx) (string, error) {
		if err := t.exec1("insert into meta (name, value) values ($1, $2) on conflict (name) do nothing", name, fresh); err != nil {
			return "", err
		}
		var v string
		_, err := one(t, "select value from meta where name = $1", []any{name}, &v)
		return v, err
	})
}
