CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, a INT, b INT, made TEXT);
CREATE UNIQUE INDEX t_name ON t (lower(name), a);
CREATE INDEX t_sum ON t (a + b DESC, coalesce(name, 'none'));
CREATE INDEX t_month ON t (strftime('%Y-%m', made));
INSERT INTO t (name, a, b, made) VALUES ('Anna', 1, 2, '2024-01-02'), ('anna', 2, 2, NULL), (NULL, NULL, 3, '');
