package devenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const infoFile = "dev.json"

// Info is what a running dev command tells other programs of this user. It holds secrets: the file is for its owner only.
type Info struct {
	// URL is the server's address, without a slash at its end.
	URL string `json:"url"`
	// GraphQL is the address of the API itself.
	GraphQL string `json:"graphql"`
	// Token signs in as the demo account.
	Token string `json:"token"`
	// AdminToken signs in as the administrator, who has every scope.
	AdminToken string `json:"adminToken"`
	// PlaygroundToken is another session of the demo account, with the developers' scope: the playground begins with it.
	PlaygroundToken string `json:"playgroundToken"`
	// DatabaseURL and RedisURL contain the passwords of the private servers.
	DatabaseURL string `json:"databaseURL"`
	RedisURL    string `json:"redisURL"`
	// PID is the process that serves, the parent of both servers.
	PID int `json:"pid"`
}

// WriteInfo publishes info as dev.json in the data directory, whole or not at all. Empty DatabaseURL, RedisURL and PID
// are filled in; Close removes the file.
func (e *Env) WriteInfo(info Info) error {
	info.URL = strings.TrimRight(info.URL, "/")
	if info.DatabaseURL == "" {
		info.DatabaseURL = e.Postgres.URL
	}
	if info.RedisURL == "" {
		info.RedisURL = e.Redis.URL
	}
	if info.PID == 0 {
		info.PID = os.Getpid()
	}
	text, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", infoFile, err)
	}
	path := filepath.Join(e.Dir, infoFile)
	// A reader that polls for the file must never see half of it.
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return explain("write "+path, e.Dir, "", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// ReadInfo returns what the dev command that runs over dir has published. The error is os.ErrNotExist when none runs;
// after a kill -9 the file is left behind, and its PID is of no process.
func ReadInfo(dir string) (Info, error) {
	var info Info
	path := filepath.Join(dir, infoFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return info, fmt.Errorf("read %s: %w", path, err)
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return info, fmt.Errorf("read %s: %w", path, err)
	}
	return info, nil
}

func removeInfo(dir string) error {
	if err := os.Remove(filepath.Join(dir, infoFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", infoFile, err)
	}
	return nil
}
