//go:build unix && !linux

package pgtest

import "syscall"

// endsWithParent cannot be had here: a killed test binary leaves its server running.
func endsWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
