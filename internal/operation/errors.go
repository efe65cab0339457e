package operation

import (
	"freshet/models"

	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

const (
	codeParse       = errcode.ParseFailed
	codeValidation  = errcode.ValidationFailed
	codeNoOperation = "OPERATION_RESOLUTION_FAILURE"
	codeInput       = string(models.CodeBadUserInput)
)

const longestMessage = 500 // bytes: gqlparser's may quote a literal of any length

func refuse(with, format string, args ...any) *gqlerror.Error {
	return code(with, gqlerror.Errorf(format, args...))
}

func refuseAt(at *ast.Position, with, format string, args ...any) *gqlerror.Error {
	err := refuse(with, format, args...)
	if at != nil {
		err.Locations = []gqlerror.Location{{Line: at.Line, Column: at.Column}}
	}
	return err
}

func beyond(with, what string, found, limit int) *gqlerror.Error {
	return refuse(with, "the document has %d %s, and the limit is %d", found, what, limit)
}

// code finishes an error for clients.
func code(with string, err *gqlerror.Error) *gqlerror.Error {
	err.Message = shorten(err.Message, longestMessage)
	if err.Extensions == nil {
		err.Extensions = map[string]any{}
	}
	err.Extensions["code"] = with
	return err
}
