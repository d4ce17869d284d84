CREATE TABLE t(id INTEGER PRIMARY KEY, s VARCHAR(3), c CHAR(5));
INSERT INTO t VALUES(1, 'abcdefg', 'ab'), (2, 'abc   ', 'abc  '), (3, 'é€😀', 'abcde');
