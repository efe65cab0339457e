package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/uptrace/bun"

	"freshet/cache"
	"freshet/internal/policy"
	"freshet/models"
)

func (s *Store) postKinds(p map[string]policy.Effective) {
	s.Posts = cache.NewKind(s.cache, cache.KindOptions[models.ID, *models.Post]{
		Name: kindPost, TTL: p[kindPost].TTL, Key: models.ID.String, Load: s.loadPosts,
		Tags: func(id models.ID, _ *models.Post, _ bool) []string { return tags(p[kindPost], "$key.id", id.String()) },
	})
	s.PostCounts = cache.NewKind(s.cache, cache.KindOptions[models.ID, *models.PostCounts]{
		Name: kindPostCounts, TTL: p[kindPostCounts].TTL, Grace: grace, Key: models.ID.String,
		Load: s.loadPostCounts,
	})
	s.Likes = cache.NewKind(s.cache, cache.KindOptions[Pair, bool]{
		Name: kindLiked, TTL: p[kindLiked].TTL, Key: Pair.key, Load: s.loadLikes,
		Tags: func(pair Pair, _, _ bool) []string {
			return tags(p[kindLiked], "$viewer.id", pair.Viewer.String(), "$key.id", pair.Of.String())
		},
	})
}

func (s *Store) loadPosts(ctx context.Context, ids []models.ID) (_ map[models.ID]*models.Post, err error) {
	defer failed(&err, "posts %v", ids)
	var rows []*models.Post
	if err := s.db.NewSelect().Model(&rows).Where("post.id IN ?", bun.Tuple(ids)).Scan(ctx); err != nil {
		return nil, err
	}
	return byKey(rows, func(p *models.Post) models.ID { return p.ID }), nil
}

// loadPostCounts has zeros for a post that nothing was counted of.
func (s *Store) loadPostCounts(ctx context.Context, ids []models.ID) (_ map[models.ID]*models.PostCounts, err error) {
	defer failed(&err, "post counts %v", ids)
	var rows []*models.PostCounts
	if err := s.db.NewSelect().Model(&rows).Where("c.post_id IN ?", bun.Tuple(ids)).Scan(ctx); err != nil {
		return nil, err
	}
	counts := byKey(rows, func(c *models.PostCounts) models.ID { return c.PostID })
	for _, id := range ids {
		if counts[id] == nil {
			counts[id] = &models.PostCounts{PostID: id}
		}
	}
	return counts, nil
}

func (s *Store) loadLikes(ctx context.Context, pairs []Pair) (_ map[Pair]bool, err error) {
	defer failed(&err, "likes %v", pairs)
	return s.loadPairs(ctx, "likes", "profile_id", "post_id", pairs)
}

// PublishPost adds a post by author and returns its id.
func (s *Store) PublishPost(ctx context.Context, author models.ID, in models.PublishPostInput) (id models.ID, err error) {
	defer failed(&err, "publish a post by %v", author)
	post := &models.Post{
		AuthorID: author, Title: in.Title, Body: in.Body, Category: in.Category, Language: in.Language,
	}
	err = s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewInsert().Model(post).Returning("id").Exec(ctx)
		return refuseTopic(err)
	}, func(ctx context.Context) { s.ProfileCounts.Forget(ctx, author) })
	return post.ID, err
}

// EditPost changes what in says of a post of author's.
func (s *Store) EditPost(ctx context.Context, author models.ID, in models.EditPostInput) (err error) {
	defer failed(&err, "edit post %v by %v", in.PostID, author)
	q := s.db.NewUpdate().Table("posts").Where("id = ?", in.PostID)
	changes := setter{q: q}
	for column, value := range map[string]*string{
		"title": in.Title.Value(), "body": in.Body.Value(), "category": in.Category.Value(), "language": in.Language.Value(),
	} {
		if value != nil {
			changes.set(column, *value)
		}
	}
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := ownPost(ctx, tx, author, in.PostID); err != nil || !changes.any {
			return err
		}
		_, err := q.Set("edited_at = now()").Conn(tx).Exec(ctx)
		return refuseTopic(err)
	})
}

// DeletePost removes a post of author's.
func (s *Store) DeletePost(ctx context.Context, author, id models.ID) (err error) {
	defer failed(&err, "delete post %v by %v", id, author)
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := ownPost(ctx, tx, author, id); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM posts WHERE id = ?", id)
		return err
	}, func(ctx context.Context) { s.ProfileCounts.Forget(ctx, author) })
}

// ownPost locks a post, and refuses what is not there or is another's.
func ownPost(ctx context.Context, tx bun.Tx, author, id models.ID) error {
	var owner models.ID
	err := tx.NewSelect().Table("posts").Column("author_id").Where("id = ?", id).For("UPDATE").Scan(ctx, &owner)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return models.Refuse(models.UserErrorCodeNotFound, "There is no such post.", "input", "postId")
	case err != nil:
		return err
	case owner != author:
		return models.Refuse(models.UserErrorCodeNotYours, "The post is someone else's.", "input", "postId")
	}
	return nil
}

// refuseTopic refuses a category or language that is not there.
func refuseTopic(err error) error {
	err = refuseForeign(err, "posts_category_fkey", "There is no such category.", "input", "category")
	return refuseForeign(err, "posts_language_fkey", "There is no such language.", "input", "language")
}

// Like makes a viewer like a post; it is no error if they do.
func (s *Store) Like(ctx context.Context, viewer, post models.ID) (err error) {
	defer failed(&err, "like post %v by %v", post, viewer)
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.ExecContext(ctx,
			"INSERT INTO likes (post_id, profile_id) VALUES (?, ?) ON CONFLICT DO NOTHING", post, viewer)
		return refuseForeign(err, "likes_post_id_fkey", "There is no such post.", "input", "postId")
	}, func(ctx context.Context) { s.PostCounts.Forget(ctx, post) })
}

// Unlike takes a like back; it is no error if there was none.
func (s *Store) Unlike(ctx context.Context, viewer, post models.ID) (err error) {
	defer failed(&err, "unlike post %v by %v", post, viewer)
	return s.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM likes WHERE post_id = ? AND profile_id = ?", post, viewer)
		return err
	}, func(ctx context.Context) { s.PostCounts.Forget(ctx, post) })
}
