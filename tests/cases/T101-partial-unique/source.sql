CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT, deleted_at DATETIME, state TEXT);
CREATE UNIQUE INDEX t_email ON t (email) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX t_one_open ON t (email, state) WHERE state IN ('open', 'new') AND email LIKE '%@x';
INSERT INTO t (email, deleted_at, state) VALUES
    ('a@x', '2024-01-01 00:00:00', 'open'), ('a@x', NULL, 'new'), ('b', NULL, 'done'), ('b', '2024-01-02 00:00:00', 'done');
