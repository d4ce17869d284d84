CREATE TABLE t(id INTEGER PRIMARY KEY, j JSON);
INSERT INTO t VALUES(1, '{"a": "x\u0000y"}'), (2, '{"a": 1}');
