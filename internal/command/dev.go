// Package command holds the commands of the freshet program.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/uptrace/bun"

	"freshet/internal/devenv"
	"freshet/internal/seed"
	"freshet/migrations"
	"freshet/models"
)

// DevOptions says where a private server keeps its data. Serve's DatabaseURL and RedisURL are filled in.
type DevOptions struct {
	Serve ServeOptions
	Dir   string
	Size  seed.Size
	Reset bool
	Out   io.Writer
}

// The names of the sessions that dev signs in with.
const (
	device           = "freshet dev"
	playgroundDevice = "freshet dev, playground"
)

// Dev serves from a private PostgreSQL and a private Redis, with demo data, until ctx ends.
func Dev(ctx context.Context, o DevOptions) (err error) {
	takeLogs(o.Serve.Log)
	if err := requireFree(o.Serve.Addr); err != nil {
		return err
	}
	env, err := devenv.Open(ctx, devenv.Options{Dir: o.Dir, Reset: o.Reset, Log: o.Serve.Log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.Close(context.WithoutCancel(ctx))) }()
	if env.Postgres.Moved {
		fmt.Fprintln(o.Out, "PostgreSQL can't enter", env.Dir+": its data is in", env.Postgres.Dir)
	}
	o.Serve.DatabaseURL, o.Serve.RedisURL = env.Postgres.URL, env.Redis.URL
	if err := prepare(ctx, o); err != nil {
		return env.Postgres.Explain(err)
	}
	i, err := newInstance(ctx, o.Serve)
	if err != nil {
		return err
	}
	defer i.close()
	info, err := i.devTokens(ctx)
	if err != nil {
		return err
	}
	srv, err := i.listen(info.PlaygroundToken, info.AdminToken)
	if err != nil {
		return listenError(o.Serve.Addr, err)
	}
	info.URL = localURL(srv.Addr())
	info.GraphQL = info.URL + "/graphql"
	if err := env.WriteInfo(info); err != nil {
		return err
	}
	welcome(o.Out, info, env.Dir)
	return srv.Serve(ctx)
}

// requireFree finds out that an address is in use before anything is started for it.
func requireFree(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return listenError(addr, err)
	}
	return l.Close()
}

// prepare migrates, and fills in demo data if there is none.
func prepare(ctx context.Context, o DevOptions) error {
	empty := false
	err := withDatabase(o.Serve.DatabaseURL, func(db *bun.DB) error {
		if _, err := migrations.Up(ctx, db); err != nil {
			return err
		}
		exists, err := db.NewSelect().Table("profiles").Exists(ctx)
		empty = !exists
		return err
	})
	if err != nil || !empty {
		return err
	}
	return Seed(ctx, o.Serve.DatabaseURL, o.Size, o.Out)
}

// devTokens signs in for those who read dev.json. On a machine of one's own the demo account may see what the caches did: the
// playground does so, and the session that stands for an app's user does not.
func (i *instance) devTokens(ctx context.Context) (info devenv.Info, err error) {
	demo := i.db.NewSelect().Table("profiles").Column("id").Where("handle = ?", seed.DemoHandle)
	if _, err := i.db.NewUpdate().Table("accounts").Set("scopes = '{developer}'").Where("profile_id = (?)", demo).Exec(ctx); err != nil {
		return info, err
	}
	if info.Token, err = i.devToken(ctx, seed.DemoHandle, seed.DemoPassword, device); err != nil {
		return info, err
	}
	if info.AdminToken, err = i.devToken(ctx, seed.AdminHandle, seed.AdminPassword, device); err != nil {
		return info, err
	}
	if info.PlaygroundToken, err = i.devToken(ctx, seed.DemoHandle, seed.DemoPassword, playgroundDevice); err != nil {
		return info, err
	}
	_, err = i.db.NewUpdate().Table("sessions").Set("scopes = '{}'").
		Where("device = ?", device).Where("profile_id = (?)", demo).Exec(ctx)
	return info, err
}

// devToken signs in, and ends the sessions of earlier runs.
func (i *instance) devToken(ctx context.Context, handle, password, device string) (string, error) {
	token, viewer, err := i.auth.SignIn(ctx, models.SignInInput{Handle: handle, Password: password, Device: device})
	var refusal models.Refusal
	if errors.As(err, &refusal) {
		return "", fmt.Errorf("the account %q has another password than the demo data: start over with --reset", handle)
	}
	if err != nil {
		return "", err
	}
	sessions, _, err := i.store.Sessions.One(ctx, viewer.ID)
	if err != nil {
		return "", err
	}
	for _, session := range sessions {
		if session.Device == device && session.ID != viewer.SessionID {
			if err := i.store.EndSession(ctx, viewer.ID, session.ID); err != nil {
				return "", err
			}
		}
	}
	return token, nil
}

// localURL is the address that a browser on this machine uses.
func localURL(addr net.Addr) string {
	host, port, _ := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

func welcome(out io.Writer, info devenv.Info, dir string) {
	fmt.Fprint(out, strings.NewReplacer(
		"{url}", info.URL, "{graphql}", info.GraphQL, "{token}", info.Token, "{dir}", dir,
		"{demo}", seed.DemoHandle, "{password}", seed.DemoPassword,
		"{admin}", seed.AdminHandle, "{adminPassword}", seed.AdminPassword,
	).Replace(`
Freshet is running. Ctrl-C stops it.

  Playground  {url}/playground
  Accounts    handle {demo}, password {password}; administrator {admin}, {adminPassword}
  Data        {dir}

Try it:

curl -s {graphql} -H 'Content-Type: application/json' \
  -H 'Authorization: Bearer {token}' \
  -d '{"query":"{ feed(first: 3) { nodes { title author { name } counts { likes } } } }"}'

`))
}
