CREATE TABLE `users` (
    `id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
    `is_admin` integer DEFAULT false NOT NULL,
    `created_at` integer DEFAULT (unixepoch()) NOT NULL,
    `updated_at` integer,
    `settings` text,
    `meta` blob,
    `big` blob
);
INSERT INTO `users` VALUES
    (1, 1, 1767322984, 1767322984678, '{"a":1}', CAST('{"a":1}' AS BLOB), CAST('12345678901234567890' AS BLOB)),
    (2, 0, 1767322985, NULL, NULL, NULL, NULL);
