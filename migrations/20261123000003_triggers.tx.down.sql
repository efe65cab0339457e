DROP EVENT TRIGGER IF EXISTS changelog_definition;
DROP FUNCTION changelog.note_definition;
-- The triggers go with their functions.
DO $$
DECLARE
    tagger regprocedure;
BEGIN
    FOR tagger IN SELECT oid FROM pg_proc WHERE pronamespace = 'changelog'::regnamespace AND prorettype = 'trigger'::regtype LOOP
        EXECUTE format('DROP FUNCTION %s CASCADE', tagger);
    END LOOP;
END $$;
DROP FUNCTION changelog.reaches_followers;
