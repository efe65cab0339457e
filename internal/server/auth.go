package server

import (
	"context"
	"net/http"
	"strings"

	"freshet/internal/auth"
	"freshet/models"
)

// tokenLimit is in bytes, several times what sessions use.
const tokenLimit = 512

// authenticate lets requests without a token pass as nobody's, and refuses those with a wrong one: a client that thinks
// it is signed in must not get a stranger's answers.
func (s *Server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := bearer(r.Header.Values("Authorization"))
		if err != nil {
			s.errors.refuse(w, r, err)
			return
		}
		if token != "" {
			viewer, err := s.holder(r.Context(), token)
			if err != nil {
				s.errors.refuse(w, r, err)
				return
			}
			r = r.WithContext(auth.WithViewer(r.Context(), viewer))
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) holder(ctx context.Context, token string) (*models.Viewer, error) {
	if s.options.Authenticate == nil {
		return nil, &models.Error{Code: models.CodeUnauthenticated, Message: "the token is unknown or has expired"}
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.RequestTimeout)
	defer cancel()
	viewer, err := s.options.Authenticate(ctx, token)
	return viewer, inTime(ctx, err)
}

// bearer is empty where no token was sent; clients that are signed out often send an empty header.
func bearer(headers []string) (string, error) {
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
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/"
	body := strings.TrimRight(token, "=")
	return body != "" && len(token) <= tokenLimit && strings.Trim(body, letters) == ""
}
