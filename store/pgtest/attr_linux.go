package pgtest

import "syscall"

// endsWithParent makes a child end when this process does.
func endsWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT} }
