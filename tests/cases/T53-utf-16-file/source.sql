PRAGMA encoding='UTF-16le';
CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT, b BLOB);
INSERT INTO t VALUES(1, 'é€😀', x'e900'), (2, '', x''), (3, 'ascii', NULL);
