DROP TABLE identities;
DROP FUNCTION changelog.tag_identity;
