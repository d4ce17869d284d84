CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, n INT, r REAL, s TEXT, b BLOB, x ANY, y ANY) STRICT;
INSERT INTO t (n, r, s, b, x, y) VALUES (1, 2, 'a', x'00', '007', 1), (2, 2.5, NULL, NULL, 7, 2), (3, NULL, '', x'', x'07', 3);
