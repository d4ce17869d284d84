CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT UNIQUE);
INSERT INTO t VALUES(1, 'é'), (2, 'e'||char(0x301)), (3, char(0xfeff)||'x'), (4, 'x  '), (5, 'x');
