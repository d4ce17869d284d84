CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT);
INSERT INTO t VALUES(1, 'a'||char(0)||'b'), (2, 'plain'), (3, NULL), (4, '');
