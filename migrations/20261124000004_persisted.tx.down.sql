DROP SCHEMA persisted CASCADE;
DROP FUNCTION changelog.tag_persisted_builds, changelog.tag_persisted_documents, changelog.tag_persisted_operations;
