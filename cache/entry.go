package cache

import (
	"encoding/binary"
	"iter"
	"time"

	"github.com/cespare/xxhash/v2"
)

// An entry in Redis, in the order of its bytes; numbers are little-endian.
//
//	0   magic    1 byte
//	1   format   1 byte; another format is a miss, so that two releases can share a Redis
//	2   flags    1 byte; 1: the source has no such key
//	3   sum      8 bytes; XXH64 of the key and of all that follows, so that a damaged value, or one stored under
//	             another key, is a miss
//	11  shape    8 bytes; fingerprint of the kind's Go type and policy
//	19  epoch    8 bytes; of the log
//	27  as-of    8 bytes; position in the log before the read began
//	35  filled   8 bytes; Unix ms
//	43  expires  8 bytes; Unix ms
//	51  load     4 bytes; how long the load took, in µs
//	55  tags     4 bytes; how many bytes they take
//	59  tags, each behind its length in 2 bytes
//	    payload: CBOR (RFC 8949), or the finished bytes of a result
const (
	magic      = 0xF7
	format     = 2
	headerSize = 59
	flagAbsent = 1
	maxTags    = 2048
)

type entry struct {
	absent          bool
	shape           uint64
	asOf            Position
	filled, expires time.Time
	load            time.Duration
	tags            packed
	payload         []byte
}

// ends is when an entry that has been read at now, by the clock of this process, ends by it: no later than its whole
// life from now, whatever clock has dated it. Now reads the monotonic clock too, so a step of this one does no harm after.
func (e *entry) ends(now time.Time) time.Time {
	return now.Add(min(e.expires.Sub(now), e.expires.Sub(e.filled)))
}

// packed are tags as they are stored: a hit looks at them without making a string of each.
type packed []byte

func pack(tags []string) packed {
	size := 0
	for _, tag := range tags {
		size += 2 + len(tag)
	}
	p := make(packed, 0, size)
	for _, tag := range tags {
		p = append(binary.LittleEndian.AppendUint16(p, uint16(len(tag))), tag...)
	}
	return p
}

// all gives each tag; it refers to p. It ends where p is no more than a part of one.
func (p packed) all() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(p) >= 2 {
			end := 2 + int(binary.LittleEndian.Uint16(p))
			if len(p) < end || !yield(p[2:end]) {
				return
			}
			p = p[end:]
		}
	}
}

// append writes the entry as it is stored under key.
func (e *entry) append(buf []byte, key string) []byte {
	start := len(buf)
	flags := byte(0)
	if e.absent {
		flags |= flagAbsent
	}
	le := binary.LittleEndian
	buf = append(buf, magic, format, flags)
	buf = le.AppendUint64(buf, 0)
	buf = le.AppendUint64(buf, e.shape)
	buf = le.AppendUint64(buf, e.asOf.Epoch)
	buf = le.AppendUint64(buf, e.asOf.At)
	buf = le.AppendUint64(buf, uint64(e.filled.UnixMilli()))
	buf = le.AppendUint64(buf, uint64(e.expires.UnixMilli()))
	buf = le.AppendUint32(buf, uint32(min(e.load.Microseconds(), 1<<32-1)))
	buf = le.AppendUint32(buf, uint32(len(e.tags)))
	buf = append(buf, e.tags...)
	buf = append(buf, e.payload...)
	le.PutUint64(buf[start+3:], sum(key, buf[start:]))
	return buf
}

// parseEntry reads what is stored under key; false if it is not an intact entry of this format for this key. Tags and
// payload refer to raw.
func parseEntry(key string, raw []byte) (entry, bool) {
	if len(raw) < headerSize || raw[0] != magic || raw[1] != format {
		return entry{}, false
	}
	le := binary.LittleEndian
	if le.Uint64(raw[3:]) != sum(key, raw) {
		return entry{}, false
	}
	e := entry{
		absent:  raw[2]&flagAbsent != 0,
		shape:   le.Uint64(raw[11:]),
		asOf:    Position{Epoch: le.Uint64(raw[19:]), At: le.Uint64(raw[27:])},
		filled:  time.UnixMilli(int64(le.Uint64(raw[35:]))),
		expires: time.UnixMilli(int64(le.Uint64(raw[43:]))),
		load:    time.Duration(le.Uint32(raw[51:])) * time.Microsecond,
	}
	size, rest := uint64(le.Uint32(raw[55:])), raw[headerSize:]
	if size > uint64(len(rest)) {
		return entry{}, false
	}
	e.tags, e.payload = packed(rest[:size:size]), rest[size:]
	return e, true
}

// sum covers the key and everything of raw but the magic, the format and the sum itself.
func sum(key string, raw []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	d.WriteString(key)
	d.Write(raw[2:3])
	d.Write(raw[11:])
	return d.Sum64()
}
