package server

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"freshet/models"
)

// Caches lets developers act on the caches from the playground, and administrators watch them. All fields are required.
type Caches struct {
	// Evict removes the entry that has a name in Redis.
	Evict func(ctx context.Context, name string) error
	// Stale makes everything that has a tag stale, and returns when no instance answers with it any more.
	Stale func(ctx context.Context, tag string) error
	// Overview is a snapshot for the page, as JSON. First asks for what is told once, at the beginning of a stream.
	Overview func(ctx context.Context, first bool) any
}

const (
	cachesPath = "/playground/cache"
	eventsPath = cachesPath + "/events"
	adminScope = "admin"
)

// action is what the body of POST /playground/cache asks for.
type action struct {
	Action string `json:"action"`
	Key    string `json:"key"`
	Tag    string `json:"tag"`
}

const actionForm = `the body must be {"action": "evict", "key": …} or {"action": "stale", "tag": …}`

// act answers POST /playground/cache.
func (s *Server) act(w http.ResponseWriter, r *http.Request) {
	if err := s.tryAct(r); err != nil {
		s.errors.refuse(w, r, err)
		return
	}
	w.Header()["Content-Type"] = []string{"application/json; charset=utf-8"}
	w.Write([]byte(`{"ok":true}` + "\n"))
}

func (s *Server) tryAct(r *http.Request) error {
	if err := s.mustHold(r, developerScope); err != nil {
		return err
	}
	var asked action
	body := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 8<<10))
	body.DisallowUnknownFields()
	if err := body.Decode(&asked); err != nil {
		return badRequest(actionForm)
	}
	switch {
	case asked.Action == "evict" && asked.Key != "" && asked.Tag == "":
		return s.options.Caches.Evict(r.Context(), asked.Key)
	case asked.Action == "stale" && asked.Tag != "" && asked.Key == "":
		if strings.HasSuffix(asked.Tag, "*") { // a whole type at once is a load on PostgreSQL
			if err := s.mustHold(r, adminScope); err != nil {
				return err
			}
		}
		return s.options.Caches.Stale(r.Context(), asked.Tag)
	}
	return badRequest(actionForm)
}

// mustHold refuses whoever is not signed in with a scope.
func (s *Server) mustHold(r *http.Request, scope string) error {
	viewer := recordOf(r.Context()).viewer
	switch {
	case viewer == nil:
		return &models.Error{Code: models.CodeUnauthenticated, Message: "this is for those who are signed in"}
	case !slices.Contains(viewer.Scopes, scope):
		return &models.Error{Code: models.CodeForbidden, Message: "this asks for the scope " + scope}
	}
	return nil
}

// watch answers GET /playground/cache/events: a stream of snapshots, as server-sent events. It ends by itself after some
// minutes, so that whoever has lost the scope meanwhile is not told for ever; pages come back.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	const pause, longest = 2 * time.Second, 5 * time.Minute
	if err := s.mustHold(r, adminScope); err != nil {
		s.errors.refuse(w, r, err)
		return
	}
	w.Header()["Content-Type"] = []string{"text/event-stream"}
	tick, end := time.NewTicker(pause), time.NewTimer(longest)
	defer tick.Stop()
	defer end.Stop()
	for first := true; s.tell(w, r, first); first = false {
		select {
		case <-r.Context().Done():
			return
		case <-s.stopping:
			return
		case <-end.C:
			return
		case <-tick.C:
		}
	}
}

// tell is false once nobody listens any more.
func (s *Server) tell(w http.ResponseWriter, r *http.Request, first bool) bool {
	const patience = 10 * time.Second // with a reader that is slow
	text, err := json.Marshal(s.options.Caches.Overview(r.Context(), first))
	if err != nil {
		s.options.Log.Error("overview: can't be written", "error", err)
		return false
	}
	out := http.NewResponseController(w)
	_ = out.SetWriteDeadline(time.Now().Add(patience)) // fails where there is no connection, as in tests
	if _, err := w.Write(append(append([]byte("data: "), text...), "\n\n"...)); err != nil {
		return false
	}
	return out.Flush() == nil
}
