CREATE TABLE t(id INTEGER PRIMARY KEY, j JSON);
INSERT INTO t VALUES(1, '{"b":1.0,"a":1,"a":2}'), (2, '{"a": 1}'), (3, '[1,2]'), (4, NULL);
