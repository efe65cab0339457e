package devenv

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	oldestPostgres = 15
	oldestRedis    = 7
)

var versionPattern = regexp.MustCompile(`(?:\(PostgreSQL\) |v=)(\d+)(\S*)`)

// postgresBinaries is one installed PostgreSQL.
type postgresBinaries struct {
	dir     string
	major   int
	version string // with its minor part, as in 15.18
}

func (b postgresBinaries) path(program string) string { return filepath.Join(b.dir, program) }

// PostgresVersion is the version that a new database would be made with, as in "15.18". The error says what to install.
func PostgresVersion(ctx context.Context) (string, error) {
	found, err := findPostgres(ctx)
	if err != nil {
		return "", err
	}
	return found[0].version, nil
}

// findPostgres lists the PostgreSQL servers on this machine that are new enough, newest first.
func findPostgres(ctx context.Context) ([]postgresBinaries, error) {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	// Debian, Fedora, and Homebrew on both kinds of Mac keep servers where PATH does not lead.
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin"} {
		more, _ := filepath.Glob(pattern)
		dirs = append(dirs, more...)
	}
	var found []postgresBinaries
	tooOld := ""
	for _, dir := range dirs {
		b := postgresBinaries{dir: dir}
		if _, err := exec.LookPath(b.path("initdb")); err != nil {
			continue
		}
		major, version, err := serverVersion(ctx, b.path("postgres"))
		if err != nil {
			continue
		}
		if b.major, b.version = major, version; major < oldestPostgres {
			tooOld = version
			continue
		}
		found = append(found, b)
	}
	slices.SortStableFunc(found, func(a, b postgresBinaries) int { return b.major - a.major })
	if len(found) > 0 {
		return found, nil
	}
	if tooOld != "" {
		return nil, fmt.Errorf("PostgreSQL %s is too old, Freshet needs %d or newer: %s", tooOld, oldestPostgres, installPostgres)
	}
	return nil, fmt.Errorf("PostgreSQL is not installed: %s", installPostgres)
}

const (
	installPostgres = "install it with `apt-get install postgresql` on Debian, or `brew install postgresql@17` on macOS"
	installRedis    = "install it with `apt-get install redis-server` on Debian, or `brew install redis` on macOS"
)

// choosePostgres takes the newest server, or for an existing database the one that made it. made is the content of
// the database's PG_VERSION file.
func choosePostgres(found []postgresBinaries, home, made string) (postgresBinaries, error) {
	if made == "" {
		return found[0], nil
	}
	var installed []string
	for _, b := range found {
		if strconv.Itoa(b.major) == made {
			return b, nil
		}
		installed = append(installed, b.version)
	}
	installed = slices.Compact(installed) // one server can lie in two places
	return postgresBinaries{}, fmt.Errorf("the database in %s was made by PostgreSQL %s, and installed is %s: install PostgreSQL %s, or start over with --reset",
		home, made, strings.Join(installed, " and "), made)
}

// findRedis returns the path of a Redis server, or of Valkey, which is the same for us.
func findRedis(ctx context.Context) (string, error) {
	problem := errors.New("Redis is not installed: " + installRedis)
	for _, name := range []string{"redis-server", "valkey-server", "/opt/homebrew/bin/redis-server", "/usr/local/bin/redis-server"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		major, version, err := serverVersion(ctx, path)
		if err != nil {
			problem = err
			continue
		}
		if major >= oldestRedis {
			return path, nil
		}
		problem = fmt.Errorf("Redis %s is too old, Freshet needs %d or newer: %s", version, oldestRedis, installRedis)
	}
	return "", problem
}

func serverVersion(ctx context.Context, path string) (major int, version string, err error) {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return 0, "", fmt.Errorf("run %s --version: %w", path, err)
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return 0, "", fmt.Errorf("run %s --version: no version in %q", path, out)
	}
	major, err = strconv.Atoi(string(m[1]))
	return major, string(m[1]) + string(m[2]), err
}
