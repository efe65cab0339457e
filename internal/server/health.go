package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"
)

// readyTimeout is below the second or two after which orchestrators give a probe up.
const readyTimeout = 2 * time.Second

// Check is the state of something that requests need.
type Check struct {
	Name string // such as "postgresql"
	// Optional means that requests are answered without it, if more slowly.
	Optional bool
	Err      error // nil if it works; it goes to the log, clients see that it fails
}

// live answers as long as the process can answer at all.
func (s *Server) live(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "draining"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	status, state := http.StatusOK, "ready"
	checks := map[string]string{}
	for _, check := range s.options.Ready(ctx) {
		checks[check.Name] = "ok"
		if check.Err == nil {
			continue
		}
		checks[check.Name] = "failing"
		s.options.Log.LogAttrs(ctx, slog.LevelWarn, "check failed",
			slog.String("check", check.Name), slog.String("cause", check.Err.Error()))
		switch {
		case !check.Optional:
			status, state = http.StatusServiceUnavailable, "unready"
		case status == http.StatusOK:
			state = "degraded"
		}
	}
	writeJSON(w, status, map[string]any{"status": state, "checks": checks})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	body, _ := json.Marshal(value) // of strings and maps of them, which cannot fail
	w.Header()["Content-Type"] = mediaJSON.contentType()
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}
