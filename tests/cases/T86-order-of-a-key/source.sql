CREATE TABLE t (a INT NOT NULL, b TEXT, c TEXT NOT NULL, PRIMARY KEY (c, a));
INSERT INTO t VALUES (1, 'x', 'b'), (2, 'y', 'a'), (1, 'z', 'a');
CREATE TABLE w (k TEXT, n INT, v TEXT, PRIMARY KEY (n, k)) WITHOUT ROWID;
INSERT INTO w VALUES ('b', 1, 'x'), ('a', 1, 'y'), ('c', 0, NULL);
