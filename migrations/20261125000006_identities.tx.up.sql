-- Who holders of an identity provider's tokens are here. A blocked one lets nobody in and, unlike one that was deleted,
-- is not made anew.
CREATE TABLE identities (
    issuer     text NOT NULL,
    subject    text NOT NULL,
    profile_id bigint NOT NULL REFERENCES profiles ON DELETE CASCADE,
    blocked    boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT identities_pkey PRIMARY KEY (issuer, subject)
);
-- Deleting a profile removes its identities.
CREATE INDEX identities_profile_id_idx ON identities (profile_id);

-- A hash, as keys of the cache have: neither issuers nor subjects have a form that suits a tag.
CALL changelog.watch('identities', '{identity}', '{issuer,subject,profile_id}',
    ARRAY[$$pg_catalog.concat('identity:', pg_catalog.encode(pg_catalog.sha256(
        pg_catalog.convert_to(pg_catalog.concat(issuer, pg_catalog.chr(10), subject), 'UTF8')), 'hex'))$$]);
-- Switching the triggers on looked like changes of definitions, which make every entry of every cache stale. No cached
-- value is from this table yet.
DELETE FROM changelog.outbox WHERE xid = pg_current_xact_id() AND tag = '*';
