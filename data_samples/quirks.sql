-- Objects that the quirky variant adds; see quirks.py for the values it changes.

CREATE VIRTUAL TABLE properties_fts USING fts5(title, description);

INSERT INTO properties_fts (rowid, title, description) SELECT id, title, description FROM properties;

CREATE TRIGGER properties_search AFTER INSERT ON properties BEGIN
  INSERT INTO properties_fts (rowid, title, description) VALUES (new.id, new.title, new.description);
END;

CREATE TABLE deposits (
  id INTEGER PRIMARY KEY,
  lease_id INTEGER NOT NULL REFERENCES leases(id),
  amount_cents INTEGER NOT NULL,
  interest_cents INTEGER NOT NULL DEFAULT 0,
  total_cents INTEGER GENERATED ALWAYS AS (amount_cents + interest_cents) VIRTUAL,
  label TEXT GENERATED ALWAYS AS ('deposit ' || lease_id) STORED
);

CREATE TABLE audit_log (
  actor TEXT,
  action TEXT,
  at DATETIME
);

CREATE UNIQUE INDEX idx_properties_slug ON properties(lower(slug));

CREATE VIEW active_leases AS
  SELECT l.id AS lease_id, u.label AS unit, t.full_name AS tenant, l.rent_cents
  FROM leases l JOIN units u ON u.id = l.unit_id JOIN users t ON t.id = l.tenant_id
  WHERE l.status = 'active';

-- Broken on purpose: payments has no column paid_cents. SQLite stores it and fails only when it is read.
CREATE VIEW lease_balances AS
  SELECT l.id AS lease_id, sum(i.amount_cents) - sum(p.paid_cents) AS balance_cents
  FROM leases l JOIN invoices i ON i.lease_id = l.id LEFT JOIN payments p ON p.invoice_id = i.id
  GROUP BY l.id;
