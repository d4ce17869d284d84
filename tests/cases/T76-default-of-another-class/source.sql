CREATE TABLE t (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    n INT DEFAULT 'abc',
    r REAL DEFAULT 'x',
    digits INT DEFAULT '12',
    flag BOOLEAN DEFAULT 2
);
INSERT INTO t (n, r, digits, flag) VALUES (1, 1.5, 2, 0), (2, 2.5, 3, 1);
