package seed

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
)

// source appends some rows of a table, in their order. It returns false once there are no more.
type source func(*encoder) bool

// copyTable writes a table's rows with COPY. FREEZE makes them visible to index-only scans at once, which spares a
// VACUUM that would write the table a second time; it asks for a table that this transaction has truncated.
func copyTable(ctx context.Context, tx pgx.Tx, t table, p *progress) (int64, error) {
	sql := fmt.Sprintf("COPY %s (%s) FROM STDIN WITH (FORMAT binary, FREEZE)", t.name, strings.Join(t.columns, ", "))
	r := &copyReader{next: t.rows, progress: p}
	r.encoder.buf = append(r.encoder.buf, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	tag, err := tx.Conn().PgConn().CopyFrom(ctx, r, sql)
	if err != nil {
		return 0, fmt.Errorf("copy %s: %w", t.name, err)
	}
	return tag.RowsAffected(), nil
}

// copyReader is a table's rows as a stream. It makes them as they are read, while the server works on those before.
type copyReader struct {
	next     source
	progress *progress
	encoder  encoder
	read     int // bytes of the encoder's buffer that were read
	ended    bool
}

func (r *copyReader) Read(p []byte) (int, error) {
	if r.read == len(r.encoder.buf) {
		if r.ended {
			return 0, io.EOF
		}
		r.encoder.buf, r.read = r.encoder.buf[:0], 0
	}
	for !r.ended && len(r.encoder.buf)-r.read < len(p) {
		if !r.next(&r.encoder) {
			r.ended = true
			r.encoder.buf = append(r.encoder.buf, 0xff, 0xff)
		}
	}
	n := copy(p, r.encoder.buf[r.read:])
	r.read += n
	r.progress.advance(r.encoder.rows)
	r.encoder.rows = 0
	return n, nil
}

// encoder writes rows in COPY's binary format: a count of fields, then each field's length and bytes.
type encoder struct {
	buf  []byte
	rows int
}

// pgEpoch is 2000-01-01, from which PostgreSQL counts, in microseconds since 1970.
const pgEpoch = 946_684_800_000_000

func (e *encoder) row(fields int) {
	e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(fields))
	e.rows++
}

func (e *encoder) id(v int) {
	e.buf = binary.BigEndian.AppendUint32(e.buf, 8)
	e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(v))
}

func (e *encoder) text(s string) {
	e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(len(s)))
	e.buf = append(e.buf, s...)
}

// textFrom writes a field of what write appends.
func (e *encoder) textFrom(write func([]byte) []byte) {
	start := len(e.buf)
	e.buf = write(append(e.buf, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(e.buf[start:], uint32(len(e.buf)-start-4))
}

func (e *encoder) null() {
	e.buf = binary.BigEndian.AppendUint32(e.buf, 0xffffffff)
}

// moment takes microseconds since 1970.
func (e *encoder) moment(micros int64) {
	e.id(int(micros - pgEpoch))
}
