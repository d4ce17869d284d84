CREATE TABLE t(id INTEGER PRIMARY KEY, j JSON, u UUID, d DATE);
INSERT INTO t VALUES
    (1, CAST(x'eda080' AS TEXT), CAST(x'ff' AS TEXT), CAST(x'ff41' AS TEXT)),
    (2, '{"a": 1}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '2024-01-02');
