package cache

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/vmihailenco/msgpack/v5"
)

// article has the shape of a post, the commonest value in the cache.
type article struct {
	ID          int64     `cbor:"1,keyasint" json:"id"`
	AuthorID    int64     `cbor:"2,keyasint" json:"authorId"`
	Title       string    `cbor:"3,keyasint" json:"title"`
	Body        string    `cbor:"4,keyasint" json:"body"`
	Category    string    `cbor:"5,keyasint" json:"category"`
	Language    string    `cbor:"6,keyasint" json:"language"`
	PublishedAt time.Time `cbor:"7,keyasint" json:"publishedAt"`
}

func sampleArticle() article {
	return article{
		ID: 1234567, AuthorID: 76543, Title: "What the river left behind", Category: "science", Language: "en",
		Body:        strings.Repeat("The gauges had shown nothing unusual for weeks. ", 16),
		PublishedAt: time.Date(2026, 3, 1, 9, 30, 0, 123456000, time.UTC),
	}
}

// BenchmarkCodec compares formats of a stored value: run it with -bench Codec. Its figures are why values are CBOR.
func BenchmarkCodec(b *testing.B) {
	packed := func(v any) ([]byte, error) {
		var buf bytes.Buffer
		enc := msgpack.NewEncoder(&buf)
		enc.UseArrayEncodedStructs(true)
		enc.UseCompactInts(true)
		err := enc.Encode(v)
		return buf.Bytes(), err
	}
	for _, codec := range []struct {
		name   string
		encode func(any) ([]byte, error)
		decode func([]byte, any) error
	}{
		{"json", json.Marshal, json.Unmarshal},
		{"msgpack", packed, msgpack.Unmarshal},
		{"cbor", cbor.Marshal, cbor.Unmarshal},
	} {
		value := sampleArticle()
		data, err := codec.encode(value)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(codec.name+"/encode", func(b *testing.B) {
			b.ReportAllocs()
			b.ReportMetric(float64(len(data)), "bytes")
			for b.Loop() {
				if _, err := codec.encode(value); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(codec.name+"/decode", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var got article
				if err := codec.decode(data, &got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
