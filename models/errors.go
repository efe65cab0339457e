package models

import "fmt"

// Code is what went wrong, for programs: `extensions.code` of a GraphQL error.
type Code string

// The codes of an Error. Whatever is not an Error is CodeInternal, and its text is never shown.
const (
	CodeUnauthenticated Code = "UNAUTHENTICATED"
	CodeForbidden       Code = "FORBIDDEN"
	CodeBadUserInput    Code = "BAD_USER_INPUT"
	CodeUnavailable     Code = "SERVICE_UNAVAILABLE"
	CodeInternal        Code = "INTERNAL_SERVER_ERROR"
)

// Error is the one application error. Code and Message are for the client, Argument too where one argument is to blame;
// Err is for the log alone.
type Error struct {
	Code     Code
	Message  string
	Argument string
	Err      error
}

// Error is for the log; clients see Message.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// BadArgument refuses a query's argument, named by its path, such as "filter.since".
func BadArgument(argument, format string, args ...any) error {
	return &Error{Code: CodeBadUserInput, Message: argument + ": " + fmt.Sprintf(format, args...), Argument: argument}
}

// Refusal is an error that says why a mutation's input was refused; it leaves as the payload's userErrors.
type Refusal []*UserError

// Error is for the log.
func (r Refusal) Error() string {
	if len(r) == 0 {
		return "refused"
	}
	return "refused: " + r[0].Message
}

// Refuse makes a Refusal of one reason.
func Refuse(code UserErrorCode, message string, path ...string) Refusal {
	return Refusal{{Code: code, Message: message, Path: path}}
}
