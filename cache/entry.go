package cache

import (
	"encoding/binary"
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
//	55  tags     2 bytes; how many
//	57  tags, each behind its length in 2 bytes
//	    payload: CBOR (RFC 8949)
const (
	magic      = 0xF7
	format     = 1
	headerSize = 57
	flagAbsent = 1
	maxTags    = 1024
)

type entry struct {
	absent          bool
	shape           uint64
	asOf            Position
	filled, expires time.Time
	load            time.Duration
	tags            []string
	payload         []byte
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
	buf = le.AppendUint16(buf, uint16(len(e.tags)))
	for _, tag := range e.tags {
		buf = le.AppendUint16(buf, uint16(len(tag)))
		buf = append(buf, tag...)
	}
	buf = append(buf, e.payload...)
	le.PutUint64(buf[start+3:], sum(key, buf[start:]))
	return buf
}

// parseEntry reads what is stored under key; false if it is not an intact entry of this format for this key. Payload
// refers to raw.
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
	count, rest := int(le.Uint16(raw[55:])), raw[headerSize:]
	if count > maxTags {
		return entry{}, false
	}
	e.tags = make([]string, count)
	for i := range e.tags {
		if len(rest) < 2 || len(rest) < 2+int(le.Uint16(rest)) {
			return entry{}, false
		}
		end := 2 + int(le.Uint16(rest))
		e.tags[i], rest = string(rest[2:end]), rest[end:]
	}
	e.payload = rest
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
