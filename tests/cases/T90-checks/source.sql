CREATE TABLE t (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL CHECK (length(trim(name)) > 0),
    cents INTEGER NOT NULL CHECK (cents >= 0 AND cents < 1e9),
    kind TEXT CHECK (kind IN ('a', 'b')) COLLATE NOCASE,
    starts DATE,
    ends DATE,
    CONSTRAINT in_order CHECK (ends IS NULL OR ends >= starts),
    CHECK (kind = 'a' OR cents % 5 = 0)
);
INSERT INTO t (name, cents, kind, starts, ends) VALUES
    ('x', 0, 'a', '2024-01-01', '2024-01-01'), ('y', 10, 'B', '2024-01-01', NULL), ('z', 15, NULL, NULL, NULL);
