CREATE TABLE "User" (
    "id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    "email" TEXT NOT NULL,
    "role" TEXT NOT NULL DEFAULT 'USER',
    "active" BOOLEAN NOT NULL DEFAULT true,
    "balance" DECIMAL NOT NULL DEFAULT 0,
    "views" BIGINT NOT NULL DEFAULT 0,
    "settings" JSONB,
    "avatar" BLOB,
    "externalId" TEXT,
    "birthday" DATETIME,
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE UNIQUE INDEX "User_email_key" ON "User"("email");
INSERT INTO "User" VALUES
    (1, 'a@example.org', 'ADMIN', 1, 12.5, 9007199254740993, '{"theme":"dark","tags":[1,2]}', x'00ff', '6ba7b810-9dad-11d1-80b4-00c04fd430c8', 631152000000, 1767322984678),
    (2, 'b@example.org', 'USER', 0, 10, 0, NULL, NULL, NULL, NULL, '2026-01-02 03:03:04');
