CREATE TABLE t (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT DEFAULT "new",
    kind TEXT CHECK (kind <> "none"),
    at TEXT
);
CREATE INDEX t_open ON t (at) WHERE state = 'new';
INSERT INTO t (kind, at) VALUES ('a', '1'), ('b', '2');
