CREATE TABLE orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    net INTEGER,
    tax INTEGER NOT NULL DEFAULT 0,
    name TEXT,
    total INTEGER GENERATED ALWAYS AS (net + tax) VIRTUAL,
    label TEXT AS ('order ' || id || ': ' || upper(name)) STORED UNIQUE,
    stated TEXT AS (quote(name)),
    doubled INTEGER AS (total * 2)
);
INSERT INTO orders (net, tax, name) VALUES (100, 19, 'anna'), (NULL, 1, 'Éva'), (9007199254740993, 0, NULL);
CREATE TABLE pairs (a TEXT, b TEXT, both TEXT AS (a || ' ' || b));
INSERT INTO pairs VALUES ('x', 'ü'), ('x', 'ü'), (NULL, 'q');
