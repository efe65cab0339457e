-- The change log: which cached values each committed change, by whatever writer, has made stale.
CREATE SCHEMA changelog;

-- Tags of changes, written by triggers in the transaction of the change and moved into the log once that is committed.
-- The transaction id lets the mover skip what earlier moves have seen; no index on anything else, for writers' sake.
CREATE TABLE changelog.outbox (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    tag text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_threshold = -1);
CREATE INDEX outbox_xid_idx ON changelog.outbox (xid);

-- The latest changes by position, without gaps. The primary key keeps two movers from giving out one position twice.
CREATE TABLE changelog.log (
    epoch    bigint NOT NULL,
    position bigint NOT NULL,
    tag      text NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT log_pkey PRIMARY KEY (epoch, position)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000);

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

-- note_all makes every entry of every cache stale. A migration that changes data in a way that triggers do not see, such
-- as ALTER TABLE … USING, calls it: SELECT changelog.note_all();
CREATE FUNCTION changelog.note_all() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO changelog.outbox (tag) VALUES ('*');
$$;

-- setting is a number that the database's owner may change: ALTER DATABASE … SET changelog.many = 500;
-- many:    a statement that touches more rows writes one tag for each type instead of the tags of its rows.
-- popular: posts of authors with more followers do not make their followers' pages stale at once; TTL does.
CREATE FUNCTION changelog.setting(name text, otherwise integer) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(current_setting('changelog.' || name, true), '')::integer, otherwise)
$$;

-- watch makes every statement that changes a table write tags, also in sessions that replicate. Inserted and deleted rows
-- give the tags of all expressions. An updated row gives those of tags; where one of the columns in keys changed, its old
-- and new images give all. So keys are the columns that expressions use, and those by which lists with a tag of keyed
-- sort and filter. An expression that is NULL gives none. TRUNCATE, and a statement with many rows, write the wildcards of
-- the types ('profile:*', on which every entry with a tag of the type depends).
--
-- It makes one trigger function, so that each statement in it is planned once, and an update of a row that keeps its keys
-- costs one row in the outbox for each expression of tags.
CREATE PROCEDURE changelog.watch(watched regclass, types text[], keys text, tags text[], keyed text[] DEFAULT '{}')
LANGUAGE plpgsql AS $body$
DECLARE
    tagger text := format('changelog.%I', 'tag_' || types[1]);
    every text := array_to_string(tags || keyed, ', ');
    event text;
    images text;
BEGIN
    EXECUTE format($function$
        CREATE FUNCTION %1$s() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            many CONSTANT integer := changelog.setting('many', 1000);
        BEGIN
            IF TG_OP = 'UPDATE' THEN
                IF NOT EXISTS (SELECT FROM added OFFSET many) THEN
                    INSERT INTO changelog.outbox (tag) %2$s;
                    IF EXISTS (SELECT %3$s FROM removed EXCEPT SELECT %3$s FROM added) THEN
                        INSERT INTO changelog.outbox (tag) SELECT DISTINCT t FROM (
                            (SELECT %3$s FROM removed EXCEPT SELECT %3$s FROM added) UNION ALL
                            (SELECT %3$s FROM added EXCEPT SELECT %3$s FROM removed)) changed, unnest(ARRAY[%4$s]) t
                        WHERE t IS NOT NULL;
                    END IF;
                    RETURN NULL;
                END IF;
            ELSIF TG_OP = 'INSERT' THEN
                IF NOT EXISTS (SELECT FROM added OFFSET many) THEN
                    INSERT INTO changelog.outbox (tag)
                    SELECT DISTINCT t FROM added, unnest(ARRAY[%4$s]) t WHERE t IS NOT NULL;
                    RETURN NULL;
                END IF;
            ELSIF TG_OP = 'DELETE' THEN
                IF NOT EXISTS (SELECT FROM removed OFFSET many) THEN
                    INSERT INTO changelog.outbox (tag)
                    SELECT DISTINCT t FROM removed, unnest(ARRAY[%4$s]) t WHERE t IS NOT NULL;
                    RETURN NULL;
                END IF;
            END IF;
            INSERT INTO changelog.outbox (tag) SELECT t || ':*' FROM unnest(%5$L::text[]) t;
            RETURN NULL;
        END $$
        $function$, tagger,
        (SELECT string_agg(format('SELECT %s FROM added', t), ' UNION ALL ') FROM unnest(tags) t), keys, every, types);
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
