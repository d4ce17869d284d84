CREATE TABLE t(id INTEGER PRIMARY KEY, words BOOLEAN, numbers BOOLEAN, clean BOOLEAN);
INSERT INTO t VALUES(1, 2, 2, 1), (2, 'true', 0, 0), (3, 't', 1, NULL), (4, 'yes', 1, 1), (5, '', 0, 0), (6, 0, 1, 1), (7, 1, 0, 0);
