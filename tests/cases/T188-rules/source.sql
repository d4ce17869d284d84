CREATE TABLE `users` (
    `id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
    `is_admin` integer DEFAULT 0 NOT NULL,
    `created_at` integer NOT NULL,
    `updated_at` integer,
    `meta` blob
);
INSERT INTO `users` VALUES
    (1, 1, 1767322984, 1767322984678, CAST('{"a":1}' AS BLOB)),
    (2, 0, 1767322985, NULL, NULL);
