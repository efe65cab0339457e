package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// HashCost is what argon2id takes to derive a key from a password. Its zero value stands for what OWASP's Password Storage
// Cheat Sheet recommends: 19 MiB, two passes. A hash states its own cost, so that another cost leaves stored hashes valid.
type HashCost struct{ MemoryKiB, Passes uint32 }

const (
	lanes    = 1
	saltSize = 16
	keySize  = 32
)

// hasher derives keys for a bounded number of callers at a time: each takes memory and a core, and anyone may ask.
type hasher struct {
	slots chan struct{}
	cost  HashCost
}

func newHasher(atATime int, cost HashCost) hasher {
	return hasher{slots: make(chan struct{}, atATime), cost: cost}
}

func (h hasher) enter(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hash returns password as a PHC string with a salt of its own.
func (h hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer func() { <-h.slots }()
	return h.cost.hash(password), nil
}

// verify tells whether password is the one that phc was made of.
func (h hasher) verify(ctx context.Context, phc, password string) (bool, error) {
	var memory, time uint32
	var threads uint8
	fields := strings.Split(phc, "$")
	if len(fields) != 6 || fields[1] != "argon2id" || fields[2] != "v=19" {
		return false, fmt.Errorf("auth: a stored password hash is not argon2id")
	}
	if _, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &memory, &time, &threads); err != nil {
		return false, fmt.Errorf("auth: cost of a stored password hash: %w", err)
	}
	salt, err := base64.RawStdEncoding.DecodeString(fields[4])
	if err != nil {
		return false, fmt.Errorf("auth: salt of a stored password hash: %w", err)
	}
	want, err := base64.RawStdEncoding.DecodeString(fields[5])
	if err != nil {
		return false, fmt.Errorf("auth: key of a stored password hash: %w", err)
	}
	// An empty key would fit every password.
	if time < 1 || time > 100 || threads < 1 || memory > 1<<20 || len(want) < 16 {
		return false, fmt.Errorf("auth: a stored password hash is out of bounds")
	}
	if err := h.enter(ctx); err != nil {
		return false, err
	}
	defer func() { <-h.slots }()
	got := argon2.IDKey([]byte(password), salt, time, memory, threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// HashPassword returns password as a PHC string (argon2id) with a random salt. It takes tens of milliseconds and 19 MiB.
func HashPassword(password string) string { return HashCost{}.hash(password) }

func (c HashCost) hash(password string) string {
	if c == (HashCost{}) {
		c = HashCost{MemoryKiB: 19 * 1024, Passes: 2}
	}
	salt := make([]byte, saltSize)
	rand.Read(salt)
	key := argon2.IDKey([]byte(password), salt, c.Passes, c.MemoryKiB, lanes, keySize)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, c.MemoryKiB, c.Passes, lanes, b64.EncodeToString(salt), b64.EncodeToString(key))
}
