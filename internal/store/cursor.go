package store

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"freshet/models"
)

// Spot is the place of an entry in a list: entries are ordered by falling Rank, then by falling ID. Rank is the time in
// Unix µs, or for TOP the bits of the score, a positive float64.
type Spot struct {
	Rank int64     `cbor:"1,keyasint"`
	ID   models.ID `cbor:"2,keyasint"`
}

// Cursor continues a list behind a spot.
type Cursor struct {
	Spot Spot
	// Newest is, for TOP, the newest candidate of the first page: the candidates of the pages that follow are those at
	// or before it, so that new posts do not move the ones a reader has seen.
	Newest Spot
}

// A cursor as clients see it: base64url of the list's fingerprint in 4 bytes and of the spots, 16 bytes each, big-endian.
// The second spot is there for TOP only.
const (
	plainCursor = 4 + 16
	topCursor   = 4 + 32
)

// encode writes the cursor for the list that fingerprint tells apart from others.
func (c Cursor) encode(fingerprint uint32) string {
	buf := make([]byte, 0, topCursor)
	buf = binary.BigEndian.AppendUint32(buf, fingerprint)
	buf = c.Spot.append(buf)
	if c.Newest != (Spot{}) {
		buf = c.Newest.append(buf)
	}
	return base64.RawURLEncoding.EncodeToString(buf)
}

// decodeCursor reads a client's cursor of a list, which is in the order of TOP or of time. The error names the argument.
func decodeCursor(text string, fingerprint uint32, top bool) (Cursor, error) {
	buf, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") || (len(buf) != plainCursor && len(buf) != topCursor) {
		return Cursor{}, models.BadArgument("after", "is not a cursor")
	}
	if binary.BigEndian.Uint32(buf) != fingerprint || top != (len(buf) == topCursor) {
		return Cursor{}, models.BadArgument("after", "is a cursor of another list, order or filter")
	}
	c := Cursor{Spot: spotAt(buf[4:])}
	ok := c.Spot.isTime()
	if top {
		c.Newest = spotAt(buf[plainCursor:])
		ok = c.Newest.isTime() && c.Spot.isScore()
	}
	if !ok {
		return Cursor{}, models.BadArgument("after", "is not a cursor")
	}
	return c, nil
}

// isTime tells whether PostgreSQL could have given the spot: anyone can write a cursor.
func (s Spot) isTime() bool {
	year := time.UnixMicro(s.Rank).UTC().Year()
	return s.ID > 0 && year >= 1 && year <= 9999
}

func (s Spot) isScore() bool {
	score := math.Float64frombits(uint64(s.Rank))
	return s.ID > 0 && score >= 0 && score <= math.MaxFloat64
}

func (s Spot) append(buf []byte) []byte {
	buf = binary.BigEndian.AppendUint64(buf, uint64(s.Rank))
	return binary.BigEndian.AppendUint64(buf, uint64(s.ID))
}

func spotAt(buf []byte) Spot {
	return Spot{Rank: int64(binary.BigEndian.Uint64(buf)), ID: models.ID(binary.BigEndian.Uint64(buf[8:]))}
}

// fingerprintOf tells lists apart, well enough to refuse a cursor that was taken from another by mistake.
func fingerprintOf(list string) uint32 { return uint32(xxhash.Sum64String(list)) }

// variant is the part of a cache key that tells pages of one list apart.
func (c Cursor) variant(fingerprint uint32) string {
	if c == (Cursor{}) {
		return ""
	}
	return ":after=" + c.encode(fingerprint)
}
