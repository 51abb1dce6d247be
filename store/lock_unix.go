//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockDir keeps other processes out of dir until the returned function is called, or this process ends,
// however it ends.
func lockDir(dir string) (unlock func() error, err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the storage directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close() //nolint:errcheck // only read
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the storage directory %s: %w", dir, err)
		}
		pid := make([]byte, 20)
		n, _ := f.Read(pid)
		return nil, errLocked(dir, strings.TrimSpace(string(pid[:n])))
	}
	// Only for the other's error message, so a full disk must not keep us from starting.
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "%d\n", os.Getpid()) //nolint:errcheck // as above
	}
	return f.Close, nil
}
