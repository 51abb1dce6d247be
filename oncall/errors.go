package oncall

import (
	"errors"
	"fmt"
)

// Code classifies an error once, where it arises; the edges (HTTP, Slack, exit codes) map it once.
type Code string

// The codes, few on purpose.
const (
	CodeInvalid     Code = "invalid"     // the caller's input is wrong; nothing changed
	CodeNotFound    Code = "not_found"   // what was named does not exist
	CodeConflict    Code = "conflict"    // the state does not allow it (stale press, already done by somebody else)
	CodeForbidden   Code = "forbidden"   // known, but not allowed
	CodeUnavailable Code = "unavailable" // try again: store or far end down, lease lost
	CodeInternal    Code = "internal"    // a defect of ours
)

// Error is an error with a code and a message for the person who must act.
type Error struct {
	Code    Code
	Message string
	Cause   error // may be nil; never shown to far ends
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an Error with the given code. A %w among the arguments becomes its Cause's chain.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Cause: nil}
}

// ErrorCode returns the code of the first Error in err's chain, CodeInternal for any other error, and ""
// for nil.
func ErrorCode(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// ErrLeaseLost is returned by every write made under a lease that somebody else holds by now. The holder
// must stop, reload what it keeps in memory, and acquire again.
var ErrLeaseLost = &Error{Code: CodeUnavailable, Message: "the lease on this shard was lost"}
