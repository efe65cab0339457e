package auth

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestPassword_HashAndVerify(t *testing.T) {
	t.Parallel()
	h := newHasher(2, HashCost{})
	phc, err := h.hash(t.Context(), "pässword 字")
	if err != nil {
		t.Fatal(err)
	}
	// What OWASP's Password Storage Cheat Sheet asks for at least.
	if form := regexp.MustCompile(`^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`); !form.MatchString(phc) {
		t.Errorf("hash: got %q, want a PHC string of argon2id", phc)
	}
	if got, err := h.verify(t.Context(), phc, "pässword 字"); err != nil || !got {
		t.Errorf("verify the password: got %v, %v, want true", got, err)
	}
}

func TestPassword_VerifiesNoOther(t *testing.T) {
	t.Parallel()
	h := newHasher(2, cheap)
	phc, err := h.hash(t.Context(), "pässword 字")
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]bool{
		"pässword 字": true, "pässword": false, "": false, "pässword 字\x00": false, "PÄSSWORD 字": false,
	} {
		if got, err := h.verify(t.Context(), phc, password); err != nil || got != want {
			t.Errorf("verify %q: got %v, %v, want %v", password, got, err, want)
		}
	}
	if again, _ := h.hash(t.Context(), "pässword 字"); again == phc {
		t.Errorf("hash of the same password: got %q twice, want salts of their own", again)
	}
}

// A test vector of the reference implementation for argon2id, as a PHC string.
func TestPassword_VerifiesOthersHashes(t *testing.T) {
	t.Parallel()
	const phc = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	for password, want := range map[string]bool{"password": true, "Password": false} {
		if got, err := newHasher(1, cheap).verify(t.Context(), phc, password); err != nil || got != want {
			t.Errorf("verify %q: got %v, %v, want %v", password, got, err, want)
		}
	}
}

func TestPassword_HashesOfWrongFormat(t *testing.T) {
	t.Parallel()
	const salt, key = "c29tZXNhbHQ", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for _, phc := range []string{
		"", "$", "plain text", "$$$$$", "$2b$10$abcdefghijklmnopqrstuv",
		"$argon2i$v=19$m=64,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=16$m=64,t=2,p=1$" + salt + "$" + key,
		"$argon2id$m=64,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=2$" + salt + "$" + key,
		"$argon2id$v=19$t=2,m=64,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=-1,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=0,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=2,p=0$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=2,p=256$" + salt + "$" + key,
		"$argon2id$v=19$m=4294967295,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=4294967295,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=2,p=1$!$" + key,
		"$argon2id$v=19$m=64,t=2,p=1$" + salt + "$!",
		"$argon2id$v=19$m=64,t=2,p=1$" + salt + "$", // an empty key: every password would fit
		"$argon2id$v=19$m=64,t=2,p=1$" + salt + "$AA",
		"$argon2id$v=19$m=64,t=2,p=1$" + salt + "$" + key + "$",
	} {
		got, err := newHasher(1, cheap).verify(t.Context(), phc, "password")
		if err == nil || got {
			t.Errorf("verify by %q: got %v, %v, want an error", phc, got, err)
			continue
		}
		if strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "password\"") {
			t.Errorf("verify by %q: got %v, want an error that shows neither hash nor password", phc, err)
		}
	}
}

// Deriving a key takes memory: no more callers than slots do so at a time, and those who wait can give up.
func TestPassword_WaitsForASlot(t *testing.T) {
	t.Parallel()
	h := newHasher(1, cheap)
	if err := h.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := h.hash(ctx, "x"); done <- err }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("hash while the slot is taken: got %v, want %v", err, context.Canceled)
	}
	<-h.slots
	if _, err := h.hash(t.Context(), "x"); err != nil {
		t.Errorf("hash once the slot is free: got %v, want no error", err)
	}
}
