DROP TABLE order_lines, orders, wallets, dictionaries, countries, products, product_categories;
DROP TRIGGER publish_dictionary ON languages;
DROP TRIGGER publish_dictionary ON categories;
DROP FUNCTION publish_dictionary;
DROP INDEX posts_published_idx;
DROP FUNCTION changelog.tag_product, changelog.tag_dictionary;
