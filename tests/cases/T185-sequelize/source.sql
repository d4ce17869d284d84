CREATE TABLE `Users` (
    `id` INTEGER PRIMARY KEY AUTOINCREMENT,
    `uuid` UUID,
    `name` VARCHAR(255),
    `role` TEXT DEFAULT 'user',
    `isActive` TINYINT(1) DEFAULT 1,
    `birthday` DATE,
    `price` DECIMAL(10,2),
    `meta` JSON,
    `createdAt` DATETIME NOT NULL,
    `updatedAt` DATETIME NOT NULL,
    `seenAt` DATETIME,
    `oldAt` DATETIME
);
INSERT INTO `Users` VALUES
    (1, '6ba7b810-9dad-11d1-80b4-00c04fd430c8', 'Ada', 'admin', 1, '1990-01-02', 12.5, '{"a":1}', '2026-01-02 03:04:05.678 +00:00', '2026-01-02 04:04:05.678 +01:00', '2026-01-02 04:04:05.678 +01:00', '2026-01-02 03:04:05.678 +00:00'),
    (2, NULL, 'Bob', 'user', 0, NULL, 10, NULL, '2026-07-02 03:04:05.000 +00:00', '2026-07-02 05:04:05.678 +02:00', '2026-07-02 05:04:05.678 +02:00', '2026-07-02 03:04:05');
