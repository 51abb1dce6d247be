//go:build !unix

package store

import (
	"os"
	"path/filepath"
)

// lockDir keeps other processes out of dir: where there is no flock, an open file cannot be removed.
func lockDir(dir string) (unlock func() error, err error) {
	name := filepath.Join(dir, lockFile)
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return nil, errLocked(dir, "")
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return f.Close, nil
}
