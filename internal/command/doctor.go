package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"freshet/internal/doctor"
	"freshet/internal/redisconn"
	"freshet/internal/store"
)

// DoctorOptions say what is examined, and where the findings go.
type DoctorOptions struct {
	DatabaseURL, RedisURL string
	// LogDatabaseURL leads the change log past a pooler. Default: DatabaseURL.
	LogDatabaseURL string
	// ReplicaURL leads to a streaming replica. Default: there is none.
	ReplicaURL string
	JSON       bool
	Out        io.Writer
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
	const patience, conns = 30 * time.Second, 4
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var d doctor.Deployment
	var err error
	if d.Redis, err = redisconn.Open(o.RedisURL, 2); err != nil {
		return err
	}
	defer d.Redis.Close()
	if d.Sentinels, err = redisconn.OpenSentinels(o.RedisURL); err != nil {
		return err
	}
	defer d.Sentinels.Close()
	if d.DB, err = store.Open(o.DatabaseURL, conns); err != nil {
		return err
	}
	defer d.DB.Close()
	if o.LogDatabaseURL != "" {
		if d.LogDB, err = store.Open(o.LogDatabaseURL, conns); err != nil {
			return err
		}
		defer d.LogDB.Close()
	}
	if o.ReplicaURL != "" {
		if d.Replica, err = store.Open(o.ReplicaURL, conns); err != nil {
			return fmt.Errorf("--replica-url: %w", err)
		}
		defer d.Replica.Close()
	}
	return o.report(doctor.Examine(ctx, d))
}

func (o DoctorOptions) report(found []doctor.Finding) error {
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
