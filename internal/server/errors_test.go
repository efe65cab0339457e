package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet/internal/testenv"
	"freshet/models"
)

// logged is the lines with this message.
func logged(t *testing.T, log *testenv.Log, message string) []map[string]any {
	t.Helper()
	var found []map[string]any
	lines := bufio.NewScanner(strings.NewReader(log.String()))
	for lines.Scan() {
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("log line: got %q, want JSON", lines.Text())
		}
		if line["msg"] == message {
			found = append(found, line)
		}
	}
	return found
}

func TestPresenter_ShowsAndLogs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err           error
		code, message string
		argument      any
		level         string
		cause         string // part of what is logged
	}{
		"internal": {
			errors.New("SELECT failed at db.internal"),
			"INTERNAL_SERVER_ERROR", "internal server error", nil, "ERROR", "SELECT failed at db.internal",
		},
		"internal by code": {
			&models.Error{Code: models.CodeInternal, Message: "count of likes is negative"},
			"INTERNAL_SERVER_ERROR", "internal server error", nil, "ERROR", "count of likes is negative",
		},
		"bad argument": {
			fmt.Errorf("wrapped: %w", models.BadArgument("after", "is not a cursor")),
			"BAD_USER_INPUT", "after: is not a cursor", "after", "DEBUG", "",
		},
		"unavailable": {
			&models.Error{Code: models.CodeUnavailable, Message: "try again", Err: errors.New("pool is empty")},
			"SERVICE_UNAVAILABLE", "try again", nil, "WARN", "pool is empty",
		},
		"refusal": {
			models.Refuse("TAKEN", "the handle is taken", "input", "handle"),
			"BAD_USER_INPUT", "the handle is taken", "input.handle", "DEBUG", "",
		},
		"budget of a backend": {
			fmt.Errorf("read posts: %w", context.DeadlineExceeded),
			"SERVICE_UNAVAILABLE", "the service is overloaded, try again", nil, "WARN", "read posts",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, &resolvers{post: func(context.Context, models.ID) (*models.Post, error) { return nil, c.err }}, nil)
			a := s.post(t, `query Secret{a:post(id:1){id}}`, "", "X-Request-Id: req-1")
			e := a.errorOf(t)
			if a.status != 200 || e.Message != c.message || fmt.Sprint(e.Path) != "[a]" {
				t.Errorf("error: got %d %q at %v, want 200 %q at [a]", a.status, e.Message, e.Path, c.message)
			}
			if e.Extensions["code"] != c.code || e.Extensions["argument"] != c.argument || e.Extensions["requestId"] != "req-1" {
				t.Errorf("extensions: got %v, want code %s, argument %v", e.Extensions, c.code, c.argument)
			}
			lines := logged(t, s.log, "error")
			if len(lines) != 1 {
				t.Fatalf("log: got %d lines, want 1: %s", len(lines), s.log)
			}
			line := lines[0]
			cause, _ := line["cause"].(string)
			if line["level"] != c.level || !strings.Contains(cause, c.cause) || (c.cause == "") != (cause == "") {
				t.Errorf("log: got %v, want level %s, cause %q", line, c.level, c.cause)
			}
			if line["request"] != "req-1" || line["path"] != "a" || line["operation"] != "Secret" {
				t.Errorf("log: got %v, want request, path and operation", line)
			}
		})
	}
}

func TestPresenter_Panics(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{post: func(context.Context, models.ID) (*models.Post, error) { panic("index out of range") }}, nil)
	a := s.post(t, `{post(id:1){id} __typename}`, "")
	if a.body == "" || a.errorOf(t).Message != "internal server error" || !strings.Contains(a.body, `"__typename":"Query"`) {
		t.Errorf("resolver: got %s, want an error beside the rest", a.body)
	}
	if lines := logged(t, s.log, "error"); len(lines) != 1 || !strings.Contains(lines[0]["cause"].(string), "errors_test.go") {
		t.Errorf("log: got %v, want one line with the stack", lines)
	}
	broken := start(t, &resolvers{}, func(o *Options) {
		o.Authenticate = func(context.Context, string) (*models.Viewer, error) { panic("nil map") }
	})
	a = broken.post(t, `{__typename}`, "", "Authorization: Bearer good")
	if e := a.errorOf(t); a.status != 500 || e.Extensions["code"] != "INTERNAL_SERVER_ERROR" || a.hasData(t) {
		t.Errorf("middleware: got %d %s, want 500", a.status, a.body)
	}
}

func TestPresenter_Timeout(t *testing.T) {
	t.Parallel()
	wait := func(ctx context.Context) error {
		<-ctx.Done()
		return errors.New("driver: bad connection")
	}
	s := start(t, &resolvers{post: func(ctx context.Context, _ models.ID) (*models.Post, error) { return nil, wait(ctx) }},
		func(o *Options) { o.RequestTimeout = time.Millisecond })
	a := s.post(t, `{post(id:1){id}}`, "") // the millisecond may pass before execution or in it
	if e := a.errorOf(t); e.Extensions["code"] != "TIMEOUT" || (a.status == 200) != a.hasData(t) {
		t.Errorf("in execution: got %d %+v, want TIMEOUT", a.status, e)
	}
}

func TestLog_HoldsNoSecrets(t *testing.T) {
	t.Parallel()
	s := start(t, &resolvers{}, nil)
	const secret = "hunter2hunter2"
	signIn := `mutation($h:String!,$p:String!){signIn(input:{handle:$h,password:$p}){token}}`
	s.post(t, signIn, `{"h":"ada","p":"`+secret+`"}`, "Authorization: Bearer "+secret)
	s.post(t, signIn, `{"h":{},"p":"`+secret+`"}`)
	s.post(t, `mutation{signIn(input:{handle:"ada",password:"`+secret+`",device:`+`[["`+secret+`"]]}){token}}`, "")
	s.post(t, `{feed(first:"`+secret+`"){nodes{id}}}`, "")
	s.post(t, `{post(id:"`+secret+`"){id}}`, "")
	s.do(t, request{method: "GET", path: get("query", "query($id:ID!){post(id:$id){id}}", "variables", `{"id":"`+secret+`"}`)})
	if n := len(logged(t, s.log, "request")); n != 6 {
		t.Errorf("log: got %d requests, want 6", n)
	}
	if log := s.log.String(); strings.Contains(log, secret) {
		t.Errorf("log: got %s, want no %s in it", log, secret)
	}
}
