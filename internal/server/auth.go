package server

import (
	"context"
	"net/http"
	"strings"

	"freshet/models"
)

// tokenLimit is in bytes. Tokens of identity providers are long.
const tokenLimit = 4 << 10

// authenticate lets requests without a token pass as nobody's, and refuses those with a wrong one: a client that thinks
// it is signed in must not get a stranger's answers.
func (s *Server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := bearer(r.Header["Authorization"])
		if err != nil {
			s.errors.refuse(w, r, err)
			return
		}
		if token != "" {
			viewer, err := s.holder(r.Context(), token)
			if err != nil {
				if isStranger(err) {
					s.options.Limits.Address.Take(recordOf(r.Context()).address, costOfStranger)
				}
				s.errors.refuse(w, r, err)
				return
			}
			recordOf(r.Context()).viewer = viewer
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) holder(ctx context.Context, token string) (*models.Viewer, error) {
	if s.options.Authenticate == nil {
		return nil, &models.Error{Code: models.CodeUnauthenticated, Message: "the token is unknown or has expired"}
	}
	return s.options.Authenticate(ctx, token)
}

// bearer is empty where no token was sent; clients that are signed out often send an empty header.
func bearer(headers []string) (string, error) {
	if len(headers) == 0 {
		return "", nil
	}
	if token, ok := strings.CutPrefix(headers[0], "Bearer "); ok && len(headers) == 1 && tokenShaped(token) {
		return token, nil // as nearly all clients say it
	}
	malformed := &refusal{
		status:  http.StatusUnauthorized,
		code:    models.CodeUnauthenticated,
		message: "Authorization must be: Bearer, a space, and a token",
		header:  map[string]string{"WWW-Authenticate": `Bearer error="invalid_request"`},
	}
	if len(headers) > 1 {
		return "", malformed
	}
	if len(headers) == 0 || strings.TrimSpace(headers[0]) == "" {
		return "", nil
	}
	scheme, token, _ := strings.Cut(strings.TrimSpace(headers[0]), " ")
	token = strings.TrimLeft(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || !tokenShaped(token) {
		return "", malformed
	}
	return token, nil
}

// tokenShaped is RFC 6750's b64token.
func tokenShaped(token string) bool {
	body := strings.TrimRight(token, "=")
	for _, c := range []byte(body) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && strings.IndexByte("-._~+/", c) < 0 {
			return false
		}
	}
	return body != "" && len(token) <= tokenLimit
}
