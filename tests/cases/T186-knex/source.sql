CREATE TABLE `orders` (
    `id` integer not null primary key autoincrement,
    `uid` char(36) not null,
    `total` float,
    `rate` float,
    `status` text check (`status` in ('open', 'paid')) not null default 'open',
    `paid` boolean default '0',
    `due` datetime,
    `created_at` datetime not null default CURRENT_TIMESTAMP
);
INSERT INTO `orders` VALUES
    (1, '6ba7b810-9dad-11d1-80b4-00c04fd430c8', 19.99, 1234567.891, 'open', 0, 1767322984678.0, 1767322984678.0),
    (2, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 0.1, 3.0, 'paid', 1, NULL, '2026-01-02 03:04:05');
