package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/uptrace/bun"

	"freshet/internal/doctor"
	"freshet/internal/redisconn"
)

// DoctorOptions say what is examined, and where the findings go.
type DoctorOptions struct {
	DatabaseURL, RedisURL string
	JSON                  bool
	Out                   io.Writer
}

// DoctorCode is the exit code that findings ask for: 0 if there is nothing to mend, 1 if there is, 2 if a server can't be
// asked. Warnings ask for none.
type DoctorCode int

// Error says which.
func (c DoctorCode) Error() string {
	if c == 2 {
		return "doctor: a server can't be asked"
	}
	return "doctor: there is something to mend"
}

// ExitCode is what the process ends with.
func (c DoctorCode) ExitCode() int { return int(c) }

// Doctor examines a deployment and prints what it finds. Its error is a DoctorCode if there is something to mend.
func Doctor(ctx context.Context, o DoctorOptions) error {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := redisconn.Open(o.RedisURL, 2)
	if err != nil {
		return err
	}
	defer client.Close()
	return withDatabase(o.DatabaseURL, func(db *bun.DB) error { return o.examine(ctx, db, client) })
}

func (o DoctorOptions) examine(ctx context.Context, db *bun.DB, client redis.UniversalClient) error {
	found := doctor.Examine(ctx, db, client)
	if o.JSON {
		if err := json.NewEncoder(o.Out).Encode(map[string]any{"findings": found}); err != nil {
			return err
		}
	}
	code := DoctorCode(0)
	for _, f := range found {
		switch f.Level {
		case doctor.Away:
			code = 2
		case doctor.Mend:
			code = max(code, 1)
		}
		if o.JSON {
			continue
		}
		fmt.Fprintf(o.Out, "%-8s %s: %s\n", f.Level, f.Check, f.Seen)
		if f.Advice != "" {
			fmt.Fprintf(o.Out, "         %s\n", f.Advice)
		}
	}
	if code != 0 {
		return code
	}
	return nil
}
