-- Which tags a change of each table makes stale. A reader's entry carries those of everything it was made of.
CALL changelog.watch('profiles', '{profile,handle}', '{id,handle}', ARRAY[$$pg_catalog.concat('profile:', id)$$], ARRAY[$$pg_catalog.concat('handle:', handle)$$]);
CALL changelog.watch('accounts', '{account}', '{profile_id}', ARRAY[$$pg_catalog.concat('account:', profile_id)$$]);
CALL changelog.watch('settings', '{settings}', '{profile_id}', ARRAY[$$pg_catalog.concat('settings:', profile_id)$$]);
CALL changelog.watch('sessions', '{session,sessions}', '{token_hash,profile_id}',
    ARRAY[$$pg_catalog.concat('session:', pg_catalog.encode(token_hash, 'hex'))$$, $$pg_catalog.concat('sessions:', profile_id)$$]);
CALL changelog.watch('follows', '{follows,followers}', '{follower_id,followee_id}',
    ARRAY[$$pg_catalog.concat('follows:', follower_id)$$, $$pg_catalog.concat('followers:', followee_id)$$]);
CALL changelog.watch('likes', '{liked}', '{profile_id,post_id}', ARRAY[$$pg_catalog.concat('liked:', profile_id, ':', post_id)$$]);
CALL changelog.watch('configs', '{config}', '{platform}', ARRAY[$$pg_catalog.concat('config:', pg_catalog.lower(platform))$$]);
CALL changelog.watch('languages', '{language}', '{code}', ARRAY[$$pg_catalog.concat('language:', code)$$]);
CALL changelog.watch('categories', '{category}', '{slug}', ARRAY[$$pg_catalog.concat('category:', slug)$$]);

-- Whether an author's posts make the pages of followers stale at once. Those of very popular ones reach them by TTL:
-- one post would empty the pages of a tenth of all viewers.
CREATE FUNCTION changelog.reaches_followers(author bigint) RETURNS boolean LANGUAGE sql STABLE
RETURN coalesce((SELECT followers FROM public.profile_counts WHERE profile_id = author), 0)
    <= changelog.setting('popular', 10000);

-- A post's own tag goes with every change. An author's list and the followers' pages hold ids: they change when posts
-- come and go, or when what they are sorted and filtered by changes.
CALL changelog.watch('posts', '{post,posts,feed}', '{id,author_id,published_at,category,language}',
    ARRAY[$$pg_catalog.concat('post:', id)$$],
    ARRAY[$$pg_catalog.concat('posts:', author_id)$$, $$CASE WHEN changelog.reaches_followers(author_id) THEN pg_catalog.concat('feed:', author_id) END$$]);

-- A change of a table's definition can change what its rows hold, and no trigger of the table sees it. Only a superuser
-- may watch for that; without one, migrations that rewrite data call changelog.note_all() themselves.
CREATE FUNCTION changelog.note_definition() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c JOIN pg_trigger t ON t.tgrelid = c.objid
               WHERE t.tgname LIKE 'changelog\_%') THEN
        PERFORM changelog.note_all();
    END IF;
END $$;
DO $$
BEGIN
    CREATE EVENT TRIGGER changelog_definition ON ddl_command_end WHEN TAG IN ('ALTER TABLE')
        EXECUTE FUNCTION changelog.note_definition();
    ALTER EVENT TRIGGER changelog_definition ENABLE ALWAYS;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'not a superuser: changes of table definitions are not watched';
END $$;
