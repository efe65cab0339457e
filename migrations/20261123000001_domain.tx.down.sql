DROP TABLE configs, post_counts, profile_counts, likes, follows, posts, sessions, settings, accounts, profiles,
    categories, languages;
DROP FUNCTION count_likes, count_follows, count_posts, count_nothing;
