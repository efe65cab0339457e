package server

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
)

// neverCached keeps a client that is ahead of the server from being stuck with the server's ignorance.
const neverCached = "private, no-cache, must-revalidate"

// checkPersisted answers requests for stored documents, of which there are none: a client with automatic persisted
// queries goes on with whole documents, one that knows an id alone learns that it is unknown.
func (e *envelope) checkPersisted() error {
	if extension, given := e.extensions["persistedQuery"]; given && extension != nil {
		return e.checkAutomatic(extension)
	}
	if e.query != "" || e.documentID == "" {
		return nil
	}
	return &refusal{
		status:  http.StatusNotFound,
		code:    codePersistedUnknown,
		message: "Persisted query '" + shorten(e.documentID) + "' not found in the persisted query list",
		header:  map[string]string{"Cache-Control": neverCached},
	}
}

func (e *envelope) checkAutomatic(extension any) error {
	fields, _ := extension.(map[string]any)
	if fields["version"] != int64(1) {
		return badRequest("Unsupported persisted query version")
	}
	hash, _ := fields["sha256Hash"].(string)
	if hash == "" {
		return badRequest("extensions.persistedQuery.sha256Hash must be a string")
	}
	if e.query == "" {
		return &refusal{
			status:  http.StatusOK,
			code:    codeAPQNotSupported,
			message: "PersistedQueryNotSupported",
			header:  map[string]string{"Cache-Control": neverCached},
		}
	}
	sum := sha256.Sum256([]byte(e.query))
	if strings.TrimPrefix(hash, "sha256:") != hex.EncodeToString(sum[:]) {
		return &refusal{
			status: http.StatusBadRequest, code: codeAPQMismatch,
			message: "provided sha does not match query",
		}
	}
	return nil
}
