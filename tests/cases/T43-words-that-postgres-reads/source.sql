CREATE TABLE t(id INTEGER PRIMARY KEY, w DATETIME, d DATE);
INSERT INTO t VALUES(1, 'now', '01/02/2024'), (2, 'today', '2024-1-2'), (3, 'infinity', '20240102'), (4, 'epoch', '2024-01-02'), (5, 'allballs', '2024-01-02');
