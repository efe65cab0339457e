package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// overlay is what a program gets, where it is built to be measured, that production does not have: files of ours, by the
// places where go build -overlay sees them.
type overlay struct {
	dir   string // where the files are
	files map[string]string
}

// add gives a package one more file.
func (o *overlay) add(ctx context.Context, pkg, name, source string) error {
	place, err := placeOf(ctx, pkg, name)
	if err != nil {
		return err
	}
	return o.put(place, source)
}

// edit replaces what stands once in a package's file.
func (o *overlay) edit(ctx context.Context, pkg, name, before, after string) error {
	place, err := placeOf(ctx, pkg, name)
	if err != nil {
		return err
	}
	source, err := os.ReadFile(place)
	if err != nil {
		return err
	}
	if n := strings.Count(string(source), before); n != 1 {
		return fmt.Errorf("edit %s of %s: %q stands there %d times, not once", name, pkg, before, n)
	}
	return o.put(place, strings.Replace(string(source), before, after, 1))
}

func (o *overlay) put(place, source string) error {
	file := filepath.Join(o.dir, filepath.Base(place)+".txt")
	o.files[place] = file
	return os.WriteFile(file, []byte(source), 0o600)
}

// write makes the file that -overlay reads.
func (o *overlay) write() (path string, err error) {
	text, err := json.Marshal(map[string]any{"Replace": o.files})
	path = filepath.Join(o.dir, "overlay.json")
	return path, errors.Join(err, os.WriteFile(path, text, 0o600))
}

func placeOf(ctx context.Context, pkg, name string) (path string, err error) {
	dir, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", pkg).Output()
	if err != nil {
		return "", fmt.Errorf("find the source of %s: %w", pkg, err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), name), nil
}
