package persisted

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
)

const mostNameRunes = 100

func sha256Hex(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// checkName refuses what can't be the name of an app or a version of a build. A tilde would make Hive's ids ambiguous.
func checkName(what, name string) error {
	printable := func(r rune) bool { return r == ' ' || unicode.IsPrint(r) && !unicode.IsSpace(r) }
	switch {
	case name == "":
		return fmt.Errorf("%s: needs a name", what)
	case len([]rune(name)) > mostNameRunes:
		return fmt.Errorf("%s: longer than %d characters", what, mostNameRunes)
	case strings.TrimFunc(name, unicode.IsSpace) != name, strings.Contains(name, "~"),
		strings.ContainsFunc(name, func(r rune) bool { return !printable(r) }):
		return fmt.Errorf("%s: %q has a tilde, a control character, or a space at its end", what, name)
	}
	return nil
}

// cutBuild takes Hive's id apart: "app~version~hash".
func cutBuild(id string) (app, version, key string, ok bool) {
	app, rest, _ := strings.Cut(id, "~")
	version, key, ok = strings.Cut(rest, "~")
	return app, version, key, ok
}

// cutApp takes graphql-ruby's id apart: "client/alias". An app's name may have slashes, as npm's packages do.
func cutApp(id string) (app, key string, ok bool) {
	at := strings.LastIndexByte(id, '/')
	if at < 0 {
		return "", "", false
	}
	return id[:at], id[at+1:], true
}
