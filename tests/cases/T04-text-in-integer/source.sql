CREATE TABLE t(id INTEGER PRIMARY KEY, i INTEGER);
INSERT INTO t(i) VALUES('12abc'), ('0x10'), ('９'), (7), ('12 '), ('1e3'), ('12.0'), (NULL);
