CREATE TABLE t (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT NOT NULL DEFAULT (lower(hex(randomblob(16)))),
    made DATETIME DEFAULT (datetime('now')),
    seen DATETIME DEFAULT current_timestamp,
    note_at TEXT DEFAULT CURRENT_TIMESTAMP,
    iso TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    day DATE DEFAULT (date('now')),
    epoch INTEGER DEFAULT (strftime('%s', 'now')),
    dice INTEGER DEFAULT (abs(random() % 6))
);
INSERT INTO t (token, made, seen, note_at, iso, day, epoch, dice) VALUES
    ('00ff', '2024-01-02 03:04:05', '2024-01-02 03:04:05', '2024-01-02 03:04:05', '2024-01-02T03:04:05.678Z', '2024-01-02', 1704164645, 3),
    ('ff00', '2024-01-03 03:04:05', '2024-01-02 03:04', 'yesterday', '2024-01-02T03:04:05.679Z', '2024-01-03', 1704164646, 4);
