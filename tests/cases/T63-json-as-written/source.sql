CREATE TABLE t(id INTEGER PRIMARY KEY, canonical JSONB, compact JSON, twice JSON, broken JSON);
INSERT INTO t VALUES(1, '{"a": 1, "bb": [1, 2]}', '{"a":1}', '{"b":1.0,"a":1,"a":2}', 'NaN'), (2, '{}', '[1,2]', '{"b": 1}', ''), (3, 'null', '"x"', NULL, '{"a": 1}');
