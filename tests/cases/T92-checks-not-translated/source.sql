CREATE TABLE t (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    n INT CHECK (typeof(n) = 'integer'),
    code TEXT CHECK (code GLOB '[A-Z]*'),
    doc TEXT CHECK (json_valid(doc)),
    day TEXT CHECK (day = strftime('%Y-%m-%d', day))
);
INSERT INTO t (n, code, doc, day) VALUES (1, 'AB', '{}', '2024-01-02');
