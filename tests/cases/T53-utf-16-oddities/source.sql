PRAGMA encoding='UTF-16be';
CREATE TABLE t(id INTEGER PRIMARY KEY, lone TEXT, nul TEXT, odd TEXT, d DATETIME);
INSERT INTO t VALUES(1, CAST(x'd8000041' AS TEXT), 'a'||char(0)||'é', CAST(x'004100' AS TEXT), '2024-01-02 03:04:05'), (2, 'é', 'é', 'é', '2024-01-02 03:04:06'), (3, NULL, '', '😀', NULL);
