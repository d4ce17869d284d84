CREATE TABLE "user" (
    "id" varchar PRIMARY KEY NOT NULL,
    "email" varchar(255) NOT NULL,
    "isActive" boolean NOT NULL DEFAULT (1),
    "role" varchar CHECK( "role" IN ('admin','user') ) NOT NULL DEFAULT ('user'),
    "settings" text,
    "tags" text,
    "bornAt" datetime,
    "createdAt" datetime NOT NULL DEFAULT (datetime('now')),
    "updatedAt" datetime NOT NULL DEFAULT (datetime('now')),
    CONSTRAINT "UQ_e12875dfb3b1d92d7d7c5377e22" UNIQUE ("email")
);
INSERT INTO "user" VALUES
    ('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 'a@example.org', 1, 'admin', '{"a":1}', 'red,green', '1990-01-02 00:00:00.000', '2026-01-02 03:04:05', '2026-01-02 03:04:05'),
    ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'b@example.org', 0, 'user', NULL, '', '1991-01-02 00:00:00.500', '2026-01-02 03:04:05.678', '2026-01-02 03:04:05.678');
