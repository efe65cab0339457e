package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// profileVariable names the environment variable that tells a profiled server where to write.
const profileVariable = "FRESHET_BENCH_PROFILE"

// profiler is a file that is added to the program where it is built to be profiled: what production runs has no such
// switch. SIGUSR1 begins a profile and ends it.
const profiler = `package main

import (
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

func init() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		for range signals {
			path := os.Getenv("` + profileVariable + `")
			file, err := os.Create(path + ".new")
			if err == nil {
				err = pprof.StartCPUProfile(file)
			}
			if err != nil {
				panic(err)
			}
			<-signals
			pprof.StopCPUProfile()
			file.Close()
			os.Rename(path+".new", path)
		}
	}()
}
`

// profilerOverlay writes what go build -overlay needs to see the file next to server.go.
func profilerOverlay(ctx context.Context, dir string) (path string, err error) {
	main, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "freshet").Output()
	if err != nil {
		return "", fmt.Errorf("find the program's source: %w", err)
	}
	source := filepath.Join(dir, "profiler.go.txt")
	if err := os.WriteFile(source, []byte(profiler), 0o600); err != nil {
		return "", err
	}
	place := filepath.Join(string(bytes.TrimSpace(main)), "bench_profiler.go")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{place: source}})
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, overlay, 0o600)
}
