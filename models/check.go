package models

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
)

var (
	handleForm = regexp.MustCompile(`^[a-z][a-z0-9_]{2,29}$`)
	buildForm  = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9}){0,3}$`)
)

// NormalHandle is the form in which a handle is kept: without the @, small letters. It is false if no profile can have it.
func NormalHandle(handle string) (normal string, ok bool) {
	normal = strings.ToLower(strings.TrimPrefix(strings.TrimSpace(handle), "@"))
	return normal, handleForm.MatchString(normal)
}

// Check refuses what a new account can't have, and returns the input as it is to be kept.
func (in SignUpInput) Check() (SignUpInput, error) {
	var c checker
	handle, ok := NormalHandle(in.Handle)
	if in.Handle = handle; !ok {
		c.refuse(UserErrorCodeInvalid, "handle", "must be 3 to 30 of a–z, 0–9 and _, beginning with a letter")
	}
	in.Name = c.line("name", in.Name, 1, 50)
	c.text("password", in.Password, 10, 200)
	in.Device = c.line("device", in.Device, 0, 100)
	return in, c.err()
}

// Check refuses credentials that no account has, and returns the input as it is to be looked up.
func (in SignInInput) Check() (SignInInput, error) {
	var c checker
	in.Handle, _ = NormalHandle(in.Handle)
	c.text("handle", in.Handle, 1, 100)
	c.text("password", in.Password, 1, 200)
	in.Device = c.line("device", in.Device, 0, 100)
	return in, c.err()
}

// Check refuses what a profile can't have, and returns the input as it is to be kept.
func (in UpdateProfileInput) Check() (UpdateProfileInput, error) {
	var c checker
	in.Name = required(&c, "name", in.Name, func(s string) string { return c.line("name", s, 1, 50) })
	if bio := in.Bio.Value(); bio != nil {
		c.text("bio", *bio, 0, 500)
	}
	if avatar := in.AvatarURL.Value(); avatar != nil {
		c.text("avatarUrl", *avatar, 0, 500)
		if u, err := url.Parse(*avatar); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			c.refuse(UserErrorCodeInvalid, "avatarUrl", "must be an https address")
		}
	}
	return in, c.err()
}

// Check refuses null for what must have a value.
func (in UpdateSettingsInput) Check() (UpdateSettingsInput, error) {
	var c checker
	required(&c, "theme", in.Theme, nil)
	required(&c, "language", in.Language, func(s string) string { return c.name("language", s) })
	required(&c, "pushNotifications", in.PushNotifications, nil)
	required(&c, "digest", in.Digest, nil)
	return in, c.err()
}

// Check refuses what a post can't have, and returns the input as it is to be kept.
func (in PublishPostInput) Check() (PublishPostInput, error) {
	var c checker
	in.Title = c.line("title", in.Title, 1, 200)
	in.Body = c.body("body", in.Body)
	c.name("category", in.Category)
	c.name("language", in.Language)
	return in, c.err()
}

// Check refuses what a post can't have, and returns the input as it is to be kept.
func (in EditPostInput) Check() (EditPostInput, error) {
	var c checker
	in.Title = required(&c, "title", in.Title, func(s string) string { return c.line("title", s, 1, 200) })
	in.Body = required(&c, "body", in.Body, func(s string) string { return c.body("body", s) })
	required(&c, "category", in.Category, func(s string) string { return c.name("category", s) })
	required(&c, "language", in.Language, func(s string) string { return c.name("language", s) })
	return in, c.err()
}

// Check refuses what a configuration can't have.
func (in PublishConfigInput) Check() (PublishConfigInput, error) {
	const most = 500
	var c checker
	if !buildForm.MatchString(in.MinimumBuild) {
		c.refuse(UserErrorCodeInvalid, "minimumBuild", "must be one to four numbers with dots between, such as 4.2.0")
	}
	if len(in.Features) > most {
		c.refuse(UserErrorCodeTooLong, "features", fmt.Sprintf("may have %d entries", most))
	}
	if len(in.Values) > most {
		c.refuse(UserErrorCodeTooLong, "values", fmt.Sprintf("may have %d entries", most))
	}
	names, keys := make(map[string]bool), make(map[string]bool)
	for _, f := range in.Features {
		c.once("features", f.Name, names)
	}
	for _, v := range in.Values {
		c.once("values", v.Key, keys)
		c.text("values", v.Value, 0, 10_000)
	}
	return in, c.err()
}

// checker gathers reasons to refuse an input.
type checker struct{ reasons Refusal }

func (c *checker) err() error {
	if len(c.reasons) == 0 {
		return nil
	}
	return c.reasons
}

func (c *checker) refuse(code UserErrorCode, field, message string) {
	c.reasons = append(c.reasons, &UserError{Code: code, Message: field + " " + message + ".", Path: []string{"input", field}})
}

// text bounds the number of characters, and refuses the one that PostgreSQL can't keep.
func (c *checker) text(field, s string, least, most int) {
	switch n := utf8.RuneCountInString(s); {
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
		c.refuse(UserErrorCodeInvalid, field, "must be valid Unicode without U+0000")
	case n == 0 && least > 0:
		c.refuse(UserErrorCodeTooShort, field, "can't be empty")
	case n < least:
		c.refuse(UserErrorCodeTooShort, field, fmt.Sprintf("must have at least %d characters", least))
	case n > most:
		c.refuse(UserErrorCodeTooLong, field, fmt.Sprintf("may have %d characters, not %d", most, n))
	}
}

// line is a text in one line, without space around it.
func (c *checker) line(field, s string, least, most int) string {
	s = strings.TrimSpace(s)
	c.text(field, s, least, most)
	if strings.ContainsAny(s, "\r\n") {
		c.refuse(UserErrorCodeInvalid, field, "must be one line")
	}
	return s
}

func (c *checker) body(field, s string) string {
	s = strings.TrimSpace(s)
	c.text(field, s, 1, 20_000)
	return s
}

// name checks what is then looked up as it stands.
func (c *checker) name(field, s string) string {
	c.text(field, s, 0, 100)
	return s
}

func (c *checker) once(field, name string, seen map[string]bool) {
	c.text(field, name, 1, 100)
	if seen[name] {
		c.refuse(UserErrorCodeInvalid, field, fmt.Sprintf("has %q twice", shorten(name)))
	}
	seen[name] = true
}

// required refuses null, and puts what clean makes of a value in its place; clean may be nil.
func required[T any](c *checker, field string, o graphql.Omittable[*T], clean func(T) T) graphql.Omittable[*T] {
	value, set := o.ValueOK()
	switch {
	case !set:
	case value == nil:
		c.refuse(UserErrorCodeInvalid, field, "can't be null")
	case clean != nil:
		cleaned := clean(*value)
		return graphql.OmittableOf(&cleaned)
	}
	return o
}
