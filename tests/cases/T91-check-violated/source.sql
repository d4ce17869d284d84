PRAGMA ignore_check_constraints = ON;
CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, n INT CHECK (n > 0), m INT CHECK (m > 0));
INSERT INTO t (n, m) VALUES (1, 1), (-1, 'abc'), (0, 2);
