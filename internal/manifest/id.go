package manifest

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode"
)

const mostIDBytes = 256

// NormalID is the one form of an id: a SHA-256 is written bare and in lower case, all else is as it is.
func NormalID(id string) string {
	if sum := strings.TrimPrefix(id, "sha256:"); IsSHA256(sum) {
		return strings.ToLower(sum)
	}
	return id
}

// IsSHA256 tells whether an id has the form of a bare SHA-256.
func IsSHA256(s string) bool {
	if len(s) != 2*sha256.Size {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// checkID refuses what can't be an id. Any printable text can: tools may be told to make ids as they like.
func checkID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("the id is empty")
	case len(id) > mostIDBytes:
		return fmt.Errorf("the id %q… is longer than %d bytes", id[:20], mostIDBytes)
	case strings.ContainsFunc(id, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return fmt.Errorf("the id %q has a space or a control character", id)
	case strings.HasPrefix(id, "sha256:") && !IsSHA256(strings.TrimPrefix(id, "sha256:")):
		return fmt.Errorf("the id %q is no SHA-256: sha256: is followed by 64 hexadecimal digits", id)
	}
	return nil
}
