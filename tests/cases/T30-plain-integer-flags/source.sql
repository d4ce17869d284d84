CREATE TABLE t(id INTEGER PRIMARY KEY, is_active integer NOT NULL, room integer);
INSERT INTO t VALUES(1, 1, 1), (2, 0, 0), (3, 1, 5);
