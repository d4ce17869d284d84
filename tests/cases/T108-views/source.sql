CREATE TABLE tenants (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL);
CREATE TABLE payments (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant_id INTEGER REFERENCES tenants, cents INTEGER, paid_at DATETIME, late BOOLEAN);
INSERT INTO tenants (name) VALUES ('Anna'), ('Éva'), ('bert');
INSERT INTO payments (tenant_id, cents, paid_at, late) VALUES
    (1, 100, '2024-01-02 03:04:05', 0), (1, 250, NULL, 1), (2, 7, '2024-02-29 23:59:59', 1), (NULL, 1, NULL, NULL);
-- Read before it is defined: SQLite looks at a view only when it is used.
CREATE VIEW good_tenants AS SELECT name FROM balances WHERE cents > 10;
CREATE VIEW balances (id, name, cents, payments, last) AS
    SELECT t.id, t.name, coalesce(sum(p.cents), 0), count(p.id), max(p.paid_at)
    FROM tenants t LEFT JOIN payments p ON p.tenant_id = t.id GROUP BY t.id ORDER BY t.name;
CREATE VIEW late AS SELECT p.*, name LIKE 'a%' AS is_a FROM payments p JOIN tenants t ON t.id = tenant_id WHERE late;
CREATE VIEW monthly AS SELECT strftime('%Y-%m', paid_at) AS month, sum(cents) FROM payments GROUP BY 1;
CREATE VIEW broken AS SELECT tenant_id, amount FROM payments;
