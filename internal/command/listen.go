package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel"
)

// takeLogs has libraries that log for the whole process do so here.
func takeLogs(log *slog.Logger) {
	redis.SetLogger(redisLog{log})
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("spans were not sent", "error", err) }))
}

// redisLog passes what go-redis has to say to the server's log: it would write lines of its own form to standard error.
type redisLog struct{ log *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.log.DebugContext(ctx, "redis: "+fmt.Sprintf(format, args...))
}

// listenError says in one sentence what to do about an address that can't be listened on.
func listenError(addr string, err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use by another program: stop it, or choose another address with --addr", addr)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s may not be listened on by this user: choose a port above 1023 with --addr", addr)
	case errors.As(err, &op) && op.Op == "listen":
		return fmt.Errorf("%s is no address to listen on: %w", addr, err)
	}
	return err
}
