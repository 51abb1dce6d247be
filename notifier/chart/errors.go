package chart

import "errors"

// ErrTooMany is what a source of series returns where an expression has more of them than it answers; the highest few
// may be asked for instead.
var ErrTooMany = errors.New("too many series")
