package models

import (
	"time"

	"github.com/uptrace/bun"
)

// Post is a text that a profile published.
type Post struct {
	bun.BaseModel `bun:"table:posts,alias:post" cbor:"-"`

	ID          ID         `bun:",pk,autoincrement" cbor:"1,keyasint"`
	AuthorID    ID         `cbor:"2,keyasint"`
	Title       string     `cbor:"3,keyasint"`
	Body        string     `cbor:"4,keyasint"`
	Category    string     `cbor:"5,keyasint"`
	Language    string     `cbor:"6,keyasint"`
	PublishedAt time.Time  `bun:",nullzero,default:now()" cbor:"7,keyasint"`
	EditedAt    *time.Time `cbor:"8,keyasint,omitempty"`
}

// PostCounts is kept by triggers beside the rows it counts.
type PostCounts struct {
	bun.BaseModel `bun:"table:post_counts,alias:c" cbor:"-"`

	PostID ID  `bun:",pk" cbor:"-"`
	Likes  int `cbor:"1,keyasint,omitempty"`
}

// FeedFilter keeps the posts that match all of its fields; an empty field matches every post.
type FeedFilter struct {
	Categories []string
	Languages  []string
	Since      *time.Time
}
