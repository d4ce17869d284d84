CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB);
INSERT INTO t VALUES(1, 'test'), (2, x'00ff'), (3, '\x6162'), (4, 'hello world');
