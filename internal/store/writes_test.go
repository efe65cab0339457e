package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"freshet/models"
)

func of[T any](value T) graphql.Omittable[*T] { return graphql.OmittableOf(&value) }

func null[T any]() graphql.Omittable[*T] { return graphql.OmittableOf[*T](nil) }

// rows are all rows of a table as text: what a refused write must not have changed.
func (r *rig) rows(table string) []string {
	r.t.Helper()
	return query[string](r, "SELECT t::text FROM "+table+" t ORDER BY 1")
}

var tables = []string{"profiles", "accounts", "settings", "sessions", "posts", "follows", "likes", "configs", "profile_counts", "post_counts"}

// unchanged runs do and fails if a row of the domain is another afterwards.
func (r *rig) unchanged(do func()) {
	r.t.Helper()
	before := map[string][]string{}
	for _, table := range tables {
		before[table] = r.rows(table)
	}
	do()
	for _, table := range tables {
		if got := r.rows(table); !slices.Equal(got, before[table]) {
			r.t.Errorf("%s after a refusal: got %q, want %q", table, got, before[table])
		}
	}
}

func post(title string) models.PublishPostInput {
	return models.PublishPostInput{Title: title, Body: "Body of " + title, Category: "food", Language: "en"}
}

func TestWrites_RefusalsChangeNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(3)
	ctx := t.Context()
	id, err := r.PublishPost(ctx, 1, post("One"))
	r.noError(err)
	r.noError(r.PublishConfig(ctx, 1, models.PublishConfigInput{Platform: models.PlatformIos, MinimumBuild: "1"}))
	r.noError(r.NewSession(ctx, &models.Session{Scopes: []string{}, TokenHash: make([]byte, 32), ProfileID: 1, ExpiresAt: time.Now().Add(time.Hour)}))
	session := query[models.ID](r, "SELECT id FROM sessions")[0]
	for _, c := range []struct {
		name  string
		do    func() error
		code  models.UserErrorCode
		field string
	}{
		{"publish in no category", func() error {
			in := post("x")
			in.Category = "none"
			_, err := r.PublishPost(ctx, 1, in)
			return err
		}, models.UserErrorCodeNotFound, "input.category"},
		{"publish in no language", func() error {
			in := post("x")
			in.Language = "xx"
			_, err := r.PublishPost(ctx, 1, in)
			return err
		}, models.UserErrorCodeNotFound, "input.language"},
		{"edit another's post", func() error {
			return r.EditPost(ctx, 2, models.EditPostInput{PostID: id, Title: of("Mine")})
		}, models.UserErrorCodeNotYours, "input.postId"},
		{"edit another's post, nothing of it", func() error {
			return r.EditPost(ctx, 2, models.EditPostInput{PostID: id})
		}, models.UserErrorCodeNotYours, "input.postId"},
		{"edit no post", func() error {
			return r.EditPost(ctx, 1, models.EditPostInput{PostID: 999, Title: of("x")})
		}, models.UserErrorCodeNotFound, "input.postId"},
		{"move a post to no category", func() error {
			return r.EditPost(ctx, 1, models.EditPostInput{PostID: id, Title: of("x"), Category: of("none")})
		}, models.UserErrorCodeNotFound, "input.category"},
		{"move a post to no language", func() error {
			return r.EditPost(ctx, 1, models.EditPostInput{PostID: id, Body: of("x"), Language: of("xx")})
		}, models.UserErrorCodeNotFound, "input.language"},
		{"delete another's post", func() error { return r.DeletePost(ctx, 2, id) }, models.UserErrorCodeNotYours, "input.postId"},
		{"delete no post", func() error { return r.DeletePost(ctx, 1, 999) }, models.UserErrorCodeNotFound, "input.postId"},
		{"like no post", func() error { return r.Like(ctx, 1, 999) }, models.UserErrorCodeNotFound, "input.postId"},
		{"follow oneself", func() error { return r.Follow(ctx, 1, 1) }, models.UserErrorCodeInvalid, "input.profileId"},
		{"follow nobody", func() error { return r.Follow(ctx, 1, 999) }, models.UserErrorCodeNotFound, "input.profileId"},
		{"settings in no language", func() error {
			return r.UpdateSettings(ctx, 1, models.UpdateSettingsInput{Theme: of(models.ThemeDark), Language: of("xx")})
		}, models.UserErrorCodeNotFound, "input.language"},
		{"end another's session", func() error { return r.EndSession(ctx, 2, session) }, models.UserErrorCodeNotFound, "input.sessionId"},
		{"end no session", func() error { return r.EndSession(ctx, 1, 999) }, models.UserErrorCodeNotFound, "input.sessionId"},
		{"take a handle", func() error {
			return r.NewAccount(ctx, &models.Profile{Handle: "p01"}, &models.Account{Scopes: []string{}}, &models.Session{Scopes: []string{}, TokenHash: make([]byte, 32)})
		}, models.UserErrorCodeTaken, "input.handle"},
		{"publish over another's version", func() error {
			return r.PublishConfig(ctx, 1, models.PublishConfigInput{Platform: models.PlatformIos, MinimumBuild: "2", BasedOnVersion: of(0)})
		}, models.UserErrorCodeConflict, "input.basedOnVersion"},
		{"publish over what is not there", func() error {
			return r.PublishConfig(ctx, 1, models.PublishConfigInput{Platform: models.PlatformWeb, MinimumBuild: "2", BasedOnVersion: of(1)})
		}, models.UserErrorCodeConflict, "input.basedOnVersion"},
	} {
		r.unchanged(func() { r.refusedWith(c.do(), c.code, c.field) })
		if noted := query[string](r, "SELECT tag FROM changelog.outbox"); len(noted) > 0 || t.Failed() {
			t.Fatalf("%s: got %q in the change log, want nothing", c.name, noted)
		}
	}
}

func TestWrites_AgainIsNoError(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(2)
	id, err := r.PublishPost(t.Context(), 1, post("One"))
	r.noError(err)
	for range 2 {
		r.noError(r.Like(t.Context(), 2, id))
		r.noError(r.Follow(t.Context(), 2, 1))
		if got := read(r, r.PostCounts, id).Likes; got != 1 {
			t.Errorf("likes: got %d, want 1", got)
		}
		if got := read(r, r.ProfileCounts, 1).Followers; got != 1 {
			t.Errorf("followers: got %d, want 1", got)
		}
	}
	for range 2 {
		r.noError(r.Unlike(t.Context(), 2, id))
		r.noError(r.Unfollow(t.Context(), 2, 1))
		if got := read(r, r.PostCounts, id).Likes; got != 0 {
			t.Errorf("likes taken back: got %d, want 0", got)
		}
		if got := read(r, r.ProfileCounts, 2).Following; got != 0 {
			t.Errorf("following none: got %d, want 0", got)
		}
	}
	r.noError(r.Unlike(t.Context(), 2, 999))
	r.noError(r.Unfollow(t.Context(), 2, 999))
}

// Arguments are written into the SQL text: whatever they hold must arrive as it is.
func TestWrites_TextsArriveAsTheyAre(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(1)
	id, err := r.PublishPost(t.Context(), 1, post("One"))
	r.noError(err)
	for _, text := range []string{
		"O'Brien", `\`, `\'`, "'; DROP TABLE likes; --", "?", "??", "?0", `\?`, "$1", "$$x$$", "%s", "{a,b}", `"q"`, "日本語 🎉 e\u0301",
		"line\nline\ttab\r", "NULL", "\u2028", "\ufffd", "E'\\x41'", "U&'\\0041'", "/* x */ -- y", strings.Repeat("字", 500), "",
	} {
		r.noError(r.UpdateProfile(t.Context(), 1, models.UpdateProfileInput{Name: of(text), Bio: of(text), AvatarURL: of(text)}))
		profile := read(r, r.Profiles, 1)
		if profile.Name != text || profile.Bio != text || *profile.AvatarURL != text {
			t.Errorf("profile: got %q, %q, %q, want %q", profile.Name, profile.Bio, *profile.AvatarURL, text)
		}
		r.noError(r.EditPost(t.Context(), 1, models.EditPostInput{PostID: id, Title: of(text), Body: of(text)}))
		if got := read(r, r.Posts, id); got.Title != text || got.Body != text {
			t.Errorf("post: got %q, %q, want %q", got.Title, got.Body, text)
		}
		if _, found, err := r.Handles.One(t.Context(), text); found || err != nil {
			t.Errorf("handle %q: got found %v, %v, want none", text, found, err)
		}
		if _, found, err := r.Account(t.Context(), text); found || err != nil {
			t.Errorf("account %q: got found %v, %v, want none", text, found, err)
		}
		r.noError(r.PublishConfig(t.Context(), 1, models.PublishConfigInput{
			Platform: models.PlatformWeb, MinimumBuild: "1", Features: []*models.FeatureFlagInput{{Name: text, Enabled: true}},
			Values: []*models.ConfigValueInput{{Key: text, Value: text}},
		}))
		config := read(r, r.Configs, ConfigKey{models.PlatformWeb, read(r, r.CurrentConfigs, models.PlatformWeb)})
		if *config.Features[0] != (models.FeatureFlag{Name: text, Enabled: true}) || *config.Values[0] != (models.ConfigValue{Key: text, Value: text}) {
			t.Errorf("configuration: got %+v, %+v, want %q", config.Features[0], config.Values[0], text)
		}
	}
}

func TestUpdateProfile_OmittedStaysNullEmpties(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(1)
	show := func(p *models.Profile) string {
		avatar := "none"
		if p.AvatarURL != nil {
			avatar = *p.AvatarURL
		}
		return p.Name + "|" + p.Bio + "|" + avatar
	}
	for _, c := range []struct {
		in   models.UpdateProfileInput
		want string
	}{
		{models.UpdateProfileInput{Bio: of("bio"), AvatarURL: of("https://a")}, "Person 1|bio|https://a"},
		{models.UpdateProfileInput{}, "Person 1|bio|https://a"},
		{models.UpdateProfileInput{Name: of("Ann")}, "Ann|bio|https://a"},
		{models.UpdateProfileInput{Bio: null[string]()}, "Ann||https://a"},
		{models.UpdateProfileInput{AvatarURL: null[string]()}, "Ann||none"},
	} {
		r.noError(r.UpdateProfile(t.Context(), 1, c.in))
		if got := show(read(r, r.Profiles, 1)); got != c.want {
			t.Errorf("after %+v: got %q, want %q", c.in, got, c.want)
		}
	}
	r.ran()
	r.noError(r.UpdateProfile(t.Context(), 1, models.UpdateProfileInput{}))
	r.noError(r.UpdateSettings(t.Context(), 1, models.UpdateSettingsInput{}))
	if got := r.ran(); len(got) != 0 {
		t.Errorf("statements of updates that change nothing: got %q, want none", got)
	}
}

func TestUpdateSettings_DefaultsAreTheTables(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(2)
	before := *read(r, r.Settings, 1)
	r.exec("INSERT INTO settings (profile_id) VALUES (1)")
	if got := *read(r, r.Settings, 1); got != before {
		t.Errorf("settings with a row of defaults: got %+v, want those without a row, %+v", got, before)
	}
	r.noError(r.UpdateSettings(t.Context(), 2, models.UpdateSettingsInput{PushNotifications: of(false)}))
	want := before
	want.ProfileID, want.PushNotifications = 2, false
	if got := *read(r, r.Settings, 2); got != want {
		t.Errorf("settings after one change: got %+v, want %+v", got, want)
	}
	r.noError(r.UpdateSettings(t.Context(), 2, models.UpdateSettingsInput{
		Theme: of(models.ThemeDark), Language: of("de"), PushNotifications: of(true), Digest: of(models.DigestOff),
	}))
	want = models.Settings{ProfileID: 2, Theme: models.ThemeDark, Language: "de", PushNotifications: true, Digest: models.DigestOff}
	if got := *read(r, r.Settings, 2); got != want {
		t.Errorf("settings after all changes: got %+v, want %+v", got, want)
	}
}

func TestEditPost_MarksTheEdit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(1)
	id, err := r.PublishPost(t.Context(), 1, post("One"))
	r.noError(err)
	r.noError(r.EditPost(t.Context(), 1, models.EditPostInput{PostID: id}))
	if got := read(r, r.Posts, id); got.EditedAt != nil || got.Title != "One" || got.AuthorID != 1 || got.PublishedAt.IsZero() {
		t.Errorf("post after an edit of nothing: got %+v, want it as published", got)
	}
	r.noError(r.EditPost(t.Context(), 1, models.EditPostInput{PostID: id, Category: of("sport")}))
	got := read(r, r.Posts, id)
	if got.EditedAt == nil || got.EditedAt.Before(got.PublishedAt) || got.Category != "sport" || got.Title != "One" || got.Language != "en" {
		t.Errorf("post after an edit: got %+v, want the category alone changed, and the edit noted", got)
	}
}

func TestDeletePost_TakesItsLikes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(2)
	id, err := r.PublishPost(t.Context(), 1, post("One"))
	r.noError(err)
	r.noError(r.Like(t.Context(), 2, id))
	r.noError(r.DeletePost(t.Context(), 1, id))
	if _, found, err := r.Posts.One(t.Context(), id); found || err != nil {
		t.Errorf("deleted post: got found %v, %v, want none", found, err)
	}
	if got := read(r, r.Likes, Pair{2, id}); got {
		t.Error("like of the deleted post: got true, want false")
	}
	if got := read(r, r.ProfileCounts, 1).Posts; got != 0 {
		t.Errorf("posts: got %d, want 0", got)
	}
}

// together runs n writes at once and returns their errors.
func together(n int, do func(i int) error) []error {
	errs := make([]error, n)
	var work sync.WaitGroup
	for i := range n {
		work.Go(func() { errs[i] = do(i) })
	}
	work.Wait()
	return errs
}

// wentThrough counts the writes without an error, and fails unless the others were refused with the code.
func (r *rig) wentThrough(errs []error, code models.UserErrorCode) (n int) {
	r.t.Helper()
	for _, err := range errs {
		var refusal models.Refusal
		switch {
		case err == nil:
			n++
		case !errors.As(err, &refusal) || refusal[0].Code != code:
			r.t.Errorf("concurrent write: got %v, want a refusal %s", err, code)
		}
	}
	return n
}

func TestLike_Concurrent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(10)
	id, err := r.PublishPost(t.Context(), 1, post("One"))
	r.noError(err)
	errs := together(30, func(i int) error { return r.Like(t.Context(), models.ID(1+i%10), id) })
	if got := r.wentThrough(errs, ""); got != 30 {
		t.Errorf("likes: got %d of 30 through", got)
	}
	if got := read(r, r.PostCounts, id).Likes; got != 10 {
		t.Errorf("likes of 10 viewers, 3 times each: got %d, want 10", got)
	}
}

func TestFollow_Concurrent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(8)
	errs := together(112, func(i int) error { // everyone follows everyone, twice
		a, b := models.ID(1+i%56/7), models.ID(1+i%7)
		if b >= a {
			b++
		}
		return r.Follow(t.Context(), a, b)
	})
	if got := r.wentThrough(errs, ""); got != 112 {
		t.Errorf("follows: got %d of 112 through", got)
	}
	for id := models.ID(1); id <= 8; id++ {
		if got := read(r, r.ProfileCounts, id); got.Followers != 7 || got.Following != 7 {
			t.Errorf("counts of %v: got %+v, want 7 followers and 7 followed", id, got)
		}
	}
}

func TestFollow_Limit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(maxFollows + 10)
	r.exec("INSERT INTO follows (follower_id, followee_id) SELECT 1, n FROM generate_series(2, ?) n", maxFollows) // one less than the limit
	errs := together(6, func(i int) error { return r.Follow(t.Context(), 1, models.ID(maxFollows+1+i)) })
	if got := r.wentThrough(errs, models.UserErrorCodeLimitReached); got != 1 {
		t.Errorf("follows when one more was allowed: got %d of 6 through, want 1", got)
	}
	r.refusedWith(r.Follow(t.Context(), 1, maxFollows+9), models.UserErrorCodeLimitReached, "input.profileId")
	r.noError(r.Follow(t.Context(), 1, 2)) // is followed already
	r.noError(r.Unfollow(t.Context(), 1, 2))
	r.noError(r.Follow(t.Context(), 1, maxFollows+9))
	if got := read(r, r.ProfileCounts, 1).Following; got != maxFollows {
		t.Errorf("followed: got %d, want %d", got, maxFollows)
	}
}

func TestNewAccount_ConcurrentHandle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	errs := together(6, func(i int) error {
		hash := make([]byte, 32)
		hash[0] = byte(i)
		return r.NewAccount(t.Context(), &models.Profile{Handle: "ann", Name: "Ann"}, &models.Account{Scopes: []string{}},
			&models.Session{Scopes: []string{}, TokenHash: hash, ExpiresAt: time.Now().Add(time.Hour)})
	})
	if got := r.wentThrough(errs, models.UserErrorCodeTaken); got != 1 {
		t.Errorf("accounts of one handle: got %d, want 1", got)
	}
	for _, table := range []string{"profiles", "accounts", "sessions"} {
		if got := r.rows(table); len(got) != 1 {
			t.Errorf("%s: got %q, want one row", table, got)
		}
	}
}

func TestPublishConfig_ConcurrentVersionsAreDense(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(1)
	publish := func(platform models.Platform, base graphql.Omittable[*int]) error {
		return r.PublishConfig(t.Context(), 1, models.PublishConfigInput{Platform: platform, MinimumBuild: "1.0", BasedOnVersion: base})
	}
	errs := together(12, func(i int) error { return publish(models.AllPlatform[i%2], graphql.Omittable[*int]{}) })
	if got := r.wentThrough(errs, ""); got != 12 {
		t.Errorf("publications: got %d of 12 through", got)
	}
	for _, platform := range models.AllPlatform[:2] {
		versions := query[int](r, "SELECT version FROM configs WHERE platform = ? ORDER BY 1", platform)
		if want := []int{1, 2, 3, 4, 5, 6}; !slices.Equal(versions, want) {
			t.Errorf("versions of %v: got %v, want %v", platform, versions, want)
		}
	}
	errs = together(5, func(int) error { return publish(models.PlatformIos, of(6)) })
	if got := r.wentThrough(errs, models.UserErrorCodeConflict); got != 1 {
		t.Errorf("publications based on one version: got %d through, want 1", got)
	}
	if got := read(r, r.CurrentConfigs, models.PlatformIos); got != 7 {
		t.Errorf("current version: got %d, want 7", got)
	}
	r.noError(publish(models.PlatformWeb, of(0))) // the first
}

func TestSessions_ListTouchAndEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.people(2)
	now := time.Now().Truncate(time.Microsecond)
	add := func(n byte, of models.ID, seen, expires time.Time) models.ID {
		hash := make([]byte, 32)
		hash[0] = n
		session := &models.Session{Scopes: []string{}, TokenHash: hash, ProfileID: of, Device: fmt.Sprint("device ", n), CreatedAt: seen, LastSeenAt: seen, ExpiresAt: expires}
		r.noError(r.NewSession(t.Context(), session))
		return session.ID
	}
	old := add(1, 1, now.Add(-2*time.Hour), now.Add(time.Hour))
	recent := add(2, 1, now.Add(-time.Hour), now.Add(time.Hour))
	ended := add(3, 1, now.Add(-time.Minute), now.Add(-time.Second))
	others := add(4, 2, now, now.Add(time.Hour))
	ids := func(of models.ID) (ids []models.ID) {
		for _, session := range read(r, r.Sessions, of) {
			ids = append(ids, session.ID)
		}
		return ids
	}
	if got, want := ids(1), []models.ID{recent, old}; !slices.Equal(got, want) {
		t.Errorf("sessions: got %v, want %v", got, want)
	}
	seen := now.Add(-2 * time.Hour)
	r.noError(r.TouchSession(t.Context(), old, seen, now, now.Add(48*time.Hour)))
	r.noError(r.TouchSession(t.Context(), old, seen, now.Add(time.Minute), now.Add(96*time.Hour))) // someone else was quicker
	r.noError(r.committed(t.Context()))
	if got, want := ids(1), []models.ID{old, recent}; !slices.Equal(got, want) {
		t.Errorf("sessions after a use: got %v, want %v", got, want)
	}
	if got := read(r, r.Sessions, 1)[0]; !got.LastSeenAt.Equal(now) || !got.ExpiresAt.Equal(now.Add(48*time.Hour)) {
		t.Errorf("used session: got %+v, want it seen at %v", got, now)
	}
	removed, err := r.RemoveEndedSessions(t.Context(), now)
	if left := query[models.ID](r, "SELECT id FROM sessions ORDER BY id"); err != nil || removed != 1 || slices.Contains(left, ended) {
		t.Errorf("removing ended sessions: got %d, %v, left %v, want %v alone removed", removed, err, left, ended)
	}
	r.noError(r.EndSession(t.Context(), 1, old))
	r.refusedWith(r.EndSession(t.Context(), 1, old), models.UserErrorCodeNotFound, "input.sessionId")
	if got, want := append(ids(1), ids(2)...), []models.ID{recent, others}; !slices.Equal(got, want) {
		t.Errorf("sessions after one was ended: got %v, want %v", got, want)
	}
}
