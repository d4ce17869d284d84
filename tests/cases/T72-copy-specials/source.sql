CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT);
INSERT INTO t VALUES(1, '\N'), (2, '\.'), (3, 'a'||char(9)||'b'||char(13)||char(10)||'c'||char(13)), (4, '\'), (5, '"",'''), (6, '');
