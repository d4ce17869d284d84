CREATE TABLE t(id INTEGER PRIMARY KEY, i, s, r, m);
INSERT INTO t VALUES(1, 5, 'a', 2.5, 5), (2, 6, 'b', 0.1, '5'), (3, NULL, '', NULL, 2.5);
