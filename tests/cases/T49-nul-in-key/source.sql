CREATE TABLE t(k TEXT PRIMARY KEY, n INTEGER);
INSERT INTO t VALUES('a'||char(0)||'b', 'word'), ('plain', 2);
