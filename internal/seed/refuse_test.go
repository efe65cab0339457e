package seed

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"freshet/internal/testenv"
)

// few rows are enough for a run that fails.
func few(databaseURL string) Options {
	o := options(databaseURL)
	o.amounts = amounts{profiles: 200, posts: 2_000, follows: 2_000, likes: 4_000, products: 40}
	return o
}

func TestRun_NotEmpty(t *testing.T) {
	t.Parallel()
	for table, statement := range map[string]string{
		"profiles": "INSERT INTO profiles (handle, name) VALUES ('somebody', 'Somebody')",
		"configs": `INSERT INTO configs (platform, version, minimum_build, features, values)
			VALUES ('WEB', 1, '1', '[]', '[]')`,
	} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			databaseURL := testenv.Database(t)
			exec(t, databaseURL, statement)
			refused(t, databaseURL, func() error {
				_, err := Run(t.Context(), few(databaseURL))
				if want := "seed: " + table + " is not empty"; err == nil || err.Error() != want {
					t.Errorf("error: got %v, want %s", err, want)
				}
				return err
			})
		})
	}
}

func TestRun_Fails(t *testing.T) {
	t.Parallel()
	databaseURL := testenv.Database(t)
	exec(t, databaseURL, "ALTER TABLE likes ADD CONSTRAINT no_thousandth CHECK (post_id <> 1000)")
	refused(t, databaseURL, func() error {
		_, err := Run(t.Context(), few(databaseURL))
		if err == nil || !strings.Contains(err.Error(), "copy likes") {
			t.Errorf("error: got %v, want one that names copy likes", err)
		}
		return err
	})
}

func TestRun_Interrupted(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"posts", "checks"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			databaseURL := testenv.Database(t)
			ctx, cancel := context.WithCancel(t.Context())
			o := few(databaseURL)
			o.Progress = onLine{step, cancel}
			refused(t, databaseURL, func() error {
				_, err := Run(ctx, o)
				if !errors.Is(err, context.Canceled) {
					t.Errorf("error: got %v, want context.Canceled", err)
				}
				return err
			})
		})
	}
}

// onLine calls do when the progress of a step is written.
type onLine struct {
	step string
	do   func()
}

func (w onLine) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte(w.step+":")) {
		w.do()
	}
	return len(p), nil
}

// refused checks that a run fails and leaves the database as it was.
func refused(t *testing.T, databaseURL string, run func() error) {
	t.Helper()
	conn := connect(t, databaseURL)
	before := definitions(t, conn) + checksums(t, conn)
	if err := run(); err == nil {
		t.Error("error: got nil, want one")
	}
	if after := definitions(t, conn) + checksums(t, conn); after != before {
		t.Errorf("database: got\n%s\nwant\n%s", after, before)
	}
}

func TestRun_NoSuchDatabase(t *testing.T) {
	t.Parallel()
	_, err := Run(t.Context(), Options{DatabaseURL: "postgres://somebody:hunter2@/none?host=/nowhere"})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error: got %v, want one without the password", err)
	}
}
