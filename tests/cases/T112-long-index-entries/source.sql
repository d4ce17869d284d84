CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, url TEXT UNIQUE, body TEXT, picture BLOB, short TEXT UNIQUE);
CREATE INDEX t_body ON t (body);
CREATE UNIQUE INDEX t_picture ON t (picture, id);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
INSERT INTO t (url, body, picture, short)
    SELECT group_concat(i * i * 7919), group_concat(i * i * 104729), CAST(group_concat(i * 31) AS BLOB), 'a' FROM n;
