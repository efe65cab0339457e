package devenv

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// account is the unprivileged user that PostgreSQL runs under when we are root, whom it refuses. Nil is ourselves.
type account struct{ uid, gid int }

func serverAccount() (*account, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if uidErr == nil && gidErr == nil {
			return &account{uid, gid}, nil
		}
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is neither a user postgres nor a user nobody: run as an ordinary user")
}

func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
}

func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Lchown(path, a.uid, a.gid)
}

// canEnter asks the kernel, which knows about every parent directory, ACLs and mounts.
func (a *account) canEnter(dir string) bool {
	cmd := exec.Command("/bin/sh", "-c", ":")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential()}
	return cmd.Run() == nil
}

// makeHome makes a directory for one server, for the account's eyes only, and returns its path without symbolic links.
func makeHome(dir string, a *account) (string, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return "", explain("make "+dir, dir, "", err)
	}
	if err := os.Mkdir(dir, 0o700); err == nil {
		err = os.WriteFile(filepath.Join(dir, markerFile), nil, 0o600)
		if err = errors.Join(err, a.own(dir)); err != nil {
			return "", explain("make "+dir, dir, "", err)
		}
	} else if !errors.Is(err, os.ErrExist) {
		return "", explain("make "+dir, dir, "", err)
	}
	return filepath.EvalSymlinks(dir)
}

func postgresHome(dir string) string { return filepath.Join(dir, "postgres") }

func redisHome(dir string) string { return filepath.Join(dir, "redis") }

// postgresRefuge is where the database goes when root's account cannot reach the data directory, as in a clone under
// a home that is closed to others. It follows from the data directory alone, so the next run finds it again.
func postgresRefuge(dir string) string {
	return fmt.Sprintf("/var/lib/freshet-%x", sha256.Sum256([]byte(dir)))[:len("/var/lib/freshet-")+12]
}

// findHome prefers a directory that already holds a database, then the one inside the data directory.
func findHome(dir string, a *account) (string, error) {
	homes := []string{postgresHome(dir)}
	if a != nil {
		homes = append(homes, postgresRefuge(dir))
	}
	for _, home := range homes {
		if _, err := os.Stat(filepath.Join(home, clusterDir)); err == nil && a.canEnter(home) {
			return filepath.EvalSymlinks(home)
		}
	}
	for _, home := range homes {
		made, err := makeHome(home, a)
		if err != nil {
			return "", err
		}
		if a.canEnter(made) {
			return made, nil
		}
		// Leave nothing behind where nothing will be kept. A directory with content stays, and its marker with it.
		if content, err := os.ReadDir(made); err == nil && len(content) == 1 && content[0].Name() == markerFile {
			_ = os.RemoveAll(made)
		}
	}
	return "", fmt.Errorf("the user that PostgreSQL runs under cannot enter %s: choose another data directory", strings.Join(homes, " or "))
}

// password makes a secret that needs no escaping in a URL.
func password() string { return rand.Text() }
