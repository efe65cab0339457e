-- The change log: which cached values each committed change, by whatever writer, has made stale.
CREATE SCHEMA changelog;

-- Tags of changes, written by triggers in the transaction of the change and moved into the log once that is committed.
-- The transaction id lets the mover skip what earlier moves have seen; no index on anything else, for writers' sake.
CREATE TABLE changelog.outbox (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    tag text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_threshold = -1,
    autovacuum_analyze_threshold = 2000000000);
CREATE INDEX outbox_xid_idx ON changelog.outbox (xid);

-- The latest changes, a batch in each row: its tags have the positions behind after, one by one and without gaps. The
-- primary key keeps two movers from giving out one position twice.
CREATE TABLE changelog.log (
    epoch    bigint NOT NULL,
    after    bigint NOT NULL,
    tags     text[] NOT NULL CHECK (cardinality(tags) > 0),
    moved_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT log_pkey PRIMARY KEY (epoch, after)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
-- Written once and hardly ever read: compressing would cost more than it saves.
ALTER TABLE changelog.log ALTER tags SET STORAGE EXTERNAL;

-- The one row that says how far the log goes and who may move it on. Positions of different epochs do not compare; the
-- epoch belongs to one timeline of one database cluster. Each sequencer takes office under another term.
CREATE TABLE changelog.log_head (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch     bigint NOT NULL,
    position  bigint NOT NULL,
    cluster   text NOT NULL,
    term      bigint NOT NULL,
    sequencer text NOT NULL
) WITH (fillfactor = 10);
INSERT INTO changelog.log_head (epoch, position, cluster, term, sequencer) VALUES (0, 0, '', 0, '');

-- Instances that may answer from a cache. Their grants are known to the sequencer alone; a new one waits for all of them.
CREATE TABLE changelog.instances (
    id            text PRIMARY KEY,
    registered_at timestamptz NOT NULL DEFAULT now()
);

-- Functions that run in others' sessions are parsed here and now (BEGIN ATOMIC), or name the schema of everything that
-- they use, down to operators: nobody's search_path can lead them elsewhere. To set a search_path of their own instead
-- costs a writer more than all the rest.

-- note_all makes every entry of every cache stale. A migration that changes data in a way that triggers do not see, such
-- as ALTER TABLE … USING, calls it: SELECT changelog.note_all();
CREATE FUNCTION changelog.note_all() RETURNS void LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    INSERT INTO changelog.outbox (tag) VALUES ('*');
END;

-- setting is a number that the database's owner may change: ALTER DATABASE … SET changelog.many = 500;
-- many:    a statement that gives more tags writes one for each type instead.
-- popular: posts of authors with more followers do not make their followers' pages stale at once; TTL does.
CREATE FUNCTION changelog.setting(name text, otherwise integer) RETURNS integer LANGUAGE sql STABLE
RETURN coalesce(nullif(current_setting('changelog.' || name, true), '')::integer, otherwise);

-- watch makes every statement that changes a table write tags, also in sessions that replicate. Inserted and deleted rows
-- give the tags of all expressions. An updated row gives those of tags; where one of the columns in keys changed, its old
-- and new images give all. So keys are the columns that expressions use, and those by which lists with a tag of keyed
-- sort and filter. An expression that is NULL gives none. TRUNCATE, and a statement with many tags, write the wildcards of
-- the types ('profile:*', on which every entry with a tag of the type depends).
--
-- Expressions must name the schemas of their functions, and use no operators: pg_catalog.concat('profile:', id).
--
-- It makes one trigger function, so that each statement in it is planned once, and an update of a row that keeps its keys
-- costs one row in the outbox for each expression of tags. A tag may come twice; it gets one position.
CREATE PROCEDURE changelog.watch(watched regclass, types text[], keys text[], tags text[], keyed text[] DEFAULT '{}')
LANGUAGE plpgsql AS $body$
DECLARE
    tagger text := format('changelog.%I', 'tag_' || types[1]);
    event text;
    images text;
BEGIN
    EXECUTE format($function$
        CREATE FUNCTION %1$s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        DECLARE
            limited pg_catalog.int4;
            written pg_catalog.int4;
        BEGIN
            IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
                INSERT INTO changelog.outbox (tag) %2$s LIMIT %8$s;
                GET DIAGNOSTICS written = ROW_COUNT;
                -- One row that keeps its keys, as nearly always: what follows would cost more than all the rest.
                IF written OPERATOR(pg_catalog.=) %7$s
                    AND NOT EXISTS (SELECT FROM removed r, added a WHERE (%3$s) IS NOT TRUE)
                THEN
                    RETURN NULL;
                END IF;
            END IF;
            limited := changelog.setting('many', 1000) OPERATOR(pg_catalog.+) 1;
            written := limited;
            IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
                INSERT INTO changelog.outbox (tag) %2$s LIMIT limited;
                GET DIAGNOSTICS written = ROW_COUNT;
                IF written OPERATOR(pg_catalog.<) limited AND EXISTS (
                    SELECT FROM removed r WHERE NOT EXISTS (SELECT FROM added a WHERE %3$s))
                THEN
                    INSERT INTO changelog.outbox (tag) SELECT t FROM (
                        (SELECT %4$s FROM removed EXCEPT SELECT %4$s FROM added) UNION ALL
                        (SELECT %4$s FROM added EXCEPT SELECT %4$s FROM removed)) changed, pg_catalog.unnest(ARRAY[%5$s]) t
                    WHERE t IS NOT NULL LIMIT limited;
                    GET DIAGNOSTICS written = ROW_COUNT;
                END IF;
            ELSIF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
                INSERT INTO changelog.outbox (tag)
                SELECT t FROM added, pg_catalog.unnest(ARRAY[%5$s]) t WHERE t IS NOT NULL LIMIT limited;
                GET DIAGNOSTICS written = ROW_COUNT;
            ELSIF TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN
                INSERT INTO changelog.outbox (tag)
                SELECT t FROM removed, pg_catalog.unnest(ARRAY[%5$s]) t WHERE t IS NOT NULL LIMIT limited;
                GET DIAGNOSTICS written = ROW_COUNT;
            END IF;
            IF written OPERATOR(pg_catalog.=) limited THEN
                INSERT INTO changelog.outbox (tag) SELECT pg_catalog.concat(t, ':*') FROM pg_catalog.unnest(%6$L::pg_catalog.text[]) t;
            END IF;
            RETURN NULL;
        END $$
        $function$, tagger,
        (SELECT string_agg(format('SELECT %s FROM added', tag), ' UNION ALL ') FROM unnest(tags) tag),
        (SELECT string_agg(format('a.%1$I OPERATOR(pg_catalog.=) r.%1$I', key), ' AND ') FROM unnest(keys) key),
        array_to_string(keys, ', '), array_to_string(tags || keyed, ', '), types, cardinality(tags),
        cardinality(tags) + 1);
    FOR event, images IN VALUES
        ('INSERT', 'REFERENCING NEW TABLE AS added'),
        ('UPDATE', 'REFERENCING OLD TABLE AS removed NEW TABLE AS added'),
        ('DELETE', 'REFERENCING OLD TABLE AS removed'),
        ('TRUNCATE', '')
    LOOP
        EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s %s FOR EACH STATEMENT EXECUTE FUNCTION %s()',
            'changelog_' || lower(event), event, watched, images, tagger);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', watched, 'changelog_' || lower(event));
    END LOOP;
END $body$;
