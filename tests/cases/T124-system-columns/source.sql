CREATE TABLE t (id INTEGER PRIMARY KEY, ctid TEXT, xmin TEXT, xmax TEXT, cmin TEXT, cmax TEXT, tableoid TEXT, oid TEXT, CHECK (xmin <> xmax));
CREATE INDEX t_ctid ON t (ctid);
INSERT INTO t VALUES (1, 'a', 'b', 'c', 'd', 'e', 'f', 'g');
