-- Persisted operations: the documents that each build of each app may ask for by id.
CREATE SCHEMA persisted;

-- A release of an app. Only the operations of active builds are served.
CREATE TABLE persisted.builds (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app          text NOT NULL CHECK (app <> ''),
    version      text NOT NULL CHECK (version <> ''),
    state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'active', 'retired')),
    published_at timestamptz NOT NULL DEFAULT now(),
    -- Of the state or of the operations: instances compare it, in case no notice reached them.
    changed_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT builds_app_version_key UNIQUE (app, version)
);

-- Texts by their ids. Within an app an id means one text for good, in whatever build.
CREATE TABLE persisted.documents (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app    text NOT NULL,
    key    text NOT NULL CHECK (key <> ''),
    name   text NOT NULL CHECK (name <> ''),
    type   text NOT NULL CHECK (type IN ('query', 'mutation', 'subscription')),
    body   text NOT NULL,
    sha256 bytea NOT NULL,
    CONSTRAINT documents_app_key_key UNIQUE (app, key),
    CONSTRAINT documents_sha256_check CHECK (sha256 = pg_catalog.sha256(convert_to(body, 'UTF8')))
);
-- Whether an id is the hash of a known text.
CREATE INDEX documents_sha256_idx ON persisted.documents (sha256);

CREATE TABLE persisted.operations (
    build_id    bigint NOT NULL REFERENCES persisted.builds ON DELETE CASCADE,
    document_id bigint NOT NULL REFERENCES persisted.documents ON DELETE CASCADE,
    PRIMARY KEY (build_id, document_id)
);
-- In which builds a document is.
CREATE INDEX operations_document_id_idx ON persisted.operations (document_id);

-- How often what was asked for, added to by every instance every few seconds; without a build where the request named
-- none that is known. Not watched: nothing depends on it.
CREATE TABLE persisted.counts (
    document_id  bigint NOT NULL REFERENCES persisted.documents ON DELETE CASCADE,
    build_id     bigint REFERENCES persisted.builds ON DELETE CASCADE,
    requests     bigint NOT NULL,
    last_seen_at timestamptz NOT NULL,
    CONSTRAINT counts_document_id_build_id_key UNIQUE NULLS NOT DISTINCT (document_id, build_id)
) WITH (fillfactor = 70);
-- When a build was last seen, and its removal.
CREATE INDEX counts_build_id_idx ON persisted.counts (build_id);

CALL changelog.watch('persisted.builds', '{persisted_builds}', '{id}', ARRAY[$$'persisted_builds:' || id$$]);
CALL changelog.watch('persisted.documents', '{persisted_documents}', '{id}', ARRAY[$$'persisted_documents:' || id$$]);
CALL changelog.watch('persisted.operations', '{persisted_operations}', '{build_id}',
    ARRAY[$$'persisted_operations:' || build_id$$]);
-- Switching the triggers on looked like changes of definitions, which make every entry of every cache stale. No cached
-- value is from these tables.
DELETE FROM changelog.outbox WHERE xid = pg_current_xact_id() AND tag = '*';
