// Package naive holds caches of the usual kinds, each with the fault that it is known for, so that a checker can prove
// that it would notice.
package naive

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"
)

// Cache is a few instances in one process over one table: an id and the version of its row. Reads and writes may come
// from any goroutine.
type Cache interface {
	// Read returns the version of a row as an instance has it.
	Read(ctx context.Context, instance int, id int64) (version int, err error)
	// Write changes a row, and returns when it would be answered.
	Write(ctx context.Context, instance int, id int64, version int) error
}

// Rows is the table: profiles by id, with the version as name.
type Rows struct{ DB *pgxpool.Pool }

// Load reads a row.
func (r Rows) Load(ctx context.Context, id int64) (version int, err error) {
	var name string
	if err := r.DB.QueryRow(ctx, "SELECT name FROM profiles WHERE id = $1", id).Scan(&name); err != nil {
		return 0, fmt.Errorf("load profile %d: %w", id, err)
	}
	return strconv.Atoi(name)
}

// Store commits a row.
func (r Rows) Store(ctx context.Context, id int64, version int) error {
	_, err := r.DB.Exec(ctx, "UPDATE profiles SET name = $2 WHERE id = $1", id, strconv.Itoa(version))
	if err != nil {
		return fmt.Errorf("store profile %d: %w", id, err)
	}
	return nil
}

const ttl = time.Minute

// SetDel fills on a miss and deletes after a write. A reader that has read the old row may fill after the delete.
type SetDel struct {
	Rows  Rows
	Redis redis.UniversalClient
}

func entryKey(id int64) string { return "naive:profile:" + strconv.FormatInt(id, 10) }

// Read is a hit, or fills.
func (c *SetDel) Read(ctx context.Context, _ int, id int64) (int, error) {
	version, err := c.Redis.Get(ctx, entryKey(id)).Int()
	if !errors.Is(err, redis.Nil) {
		return version, err
	}
	if version, err = c.Rows.Load(ctx, id); err != nil {
		return 0, err
	}
	return version, c.Redis.Set(ctx, entryKey(id), version, ttl).Err()
}

// Write commits, then deletes.
func (c *SetDel) Write(ctx context.Context, _ int, id int64, version int) error {
	if err := c.Rows.Store(ctx, id, version); err != nil {
		return err
	}
	return c.Redis.Del(ctx, entryKey(id)).Err()
}

// Singleflight keeps nothing, and lets concurrent reads of an instance share one load, also one that runs already: it may
// have read the row before a write that was answered since.
type Singleflight struct {
	Rows   Rows
	groups [16]singleflight.Group // by instance
}

// Read joins the instance's running load, or begins one.
func (c *Singleflight) Read(ctx context.Context, instance int, id int64) (int, error) {
	version, err, _ := c.groups[instance].Do(entryKey(id), func() (any, error) { return c.Rows.Load(ctx, id) })
	if err != nil {
		return 0, err
	}
	return version.(int), nil
}

// Write commits.
func (c *Singleflight) Write(ctx context.Context, _ int, id int64, version int) error {
	return c.Rows.Store(ctx, id, version)
}
