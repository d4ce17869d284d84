-- The sample marketplace: rental listings, leases and payments, as a small Node.js application with
-- better-sqlite3 writes them. No statement here depends on the moment it runs.

CREATE TABLE users (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  email TEXT NOT NULL COLLATE NOCASE UNIQUE,
  password_hash TEXT NOT NULL,
  full_name TEXT NOT NULL,
  phone TEXT,
  role TEXT NOT NULL DEFAULT 'tenant' CHECK(role IN ('tenant','landlord','admin')),
  is_verified BOOLEAN NOT NULL DEFAULT 0 CHECK (is_verified IN (0, 1)),
  newsletter BOOLEAN DEFAULT 1,
  preferences TEXT NOT NULL DEFAULT '{}', -- JSON
  referred_by INTEGER REFERENCES users(id) ON DELETE SET NULL,
  last_login_at DATETIME, -- new Date().toISOString()
  created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
  deleted_at DATETIME -- never used so far: NULL in every row
);

CREATE TABLE properties (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  public_id TEXT NOT NULL UNIQUE, -- crypto.randomUUID()
  owner_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  slug TEXT NOT NULL,
  title TEXT NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  street TEXT NOT NULL,
  postal_code TEXT NOT NULL,
  city TEXT NOT NULL,
  country TEXT NOT NULL DEFAULT 'DE' CHECK (length(country) = 2),
  latitude REAL,
  longitude REAL,
  attributes TEXT, -- JSON
  is_published BOOLEAN NOT NULL DEFAULT 0,
  created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at DATETIME DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE units (
  id INTEGER PRIMARY KEY,
  property_id INTEGER NOT NULL REFERENCES properties(id) ON DELETE CASCADE,
  label TEXT NOT NULL,
  floor INTEGER,
  rooms INTEGER NOT NULL DEFAULT 1 CHECK (rooms > 0),
  area_m2 REAL NOT NULL,
  rent_cents INTEGER NOT NULL CHECK (rent_cents >= 0),
  has_balcony BOOLEAN NOT NULL DEFAULT 0,
  created_at TEXT DEFAULT (datetime('now')),
  UNIQUE (property_id, label)
);

CREATE TABLE leases (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  unit_id INTEGER NOT NULL REFERENCES units(id) ON DELETE RESTRICT,
  tenant_id INTEGER NOT NULL REFERENCES users(id) ON DELETE RESTRICT,
  status TEXT NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'active', 'ended', 'terminated')),
  start_date DATE NOT NULL,
  end_date DATE,
  rent_cents INTEGER NOT NULL CHECK (rent_cents >= 0),
  deposit_cents INTEGER NOT NULL DEFAULT 0 CHECK (deposit_cents >= 0),
  terms TEXT, -- JSON
  signed_at TEXT, -- new Date().toISOString()
  created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
  CHECK (end_date IS NULL OR end_date >= start_date)
);

CREATE TABLE lease_tenants (
  lease_id INTEGER NOT NULL REFERENCES leases(id) ON DELETE CASCADE,
  tenant_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  share REAL NOT NULL DEFAULT 1.0 CHECK (share > 0 AND share <= 1),
  PRIMARY KEY (lease_id, tenant_id)
);

CREATE TABLE invoices (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  lease_id INTEGER NOT NULL REFERENCES leases(id) ON DELETE CASCADE,
  period TEXT NOT NULL, -- YYYY-MM
  number TEXT NOT NULL UNIQUE,
  amount_cents INTEGER NOT NULL CHECK (amount_cents >= 0),
  tax_cents INTEGER NOT NULL DEFAULT 0 CHECK (tax_cents >= 0),
  currency TEXT NOT NULL DEFAULT 'EUR' CHECK (currency IN ('EUR', 'CHF', 'USD')),
  due_date DATE NOT NULL,
  is_paid BOOLEAN NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL DEFAULT (datetime('now'))
);

CREATE TABLE payments (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  lease_id INTEGER NOT NULL REFERENCES leases(id) ON DELETE CASCADE,
  invoice_id INTEGER REFERENCES invoices(id) ON DELETE SET NULL,
  amount_cents INTEGER NOT NULL CHECK (amount_cents >= 0),
  currency TEXT NOT NULL DEFAULT 'EUR',
  method TEXT NOT NULL CHECK (method IN ('card', 'sepa', 'cash', 'paypal')),
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'succeeded', 'failed', 'refunded')),
  provider_ref TEXT,
  note TEXT,
  metadata TEXT, -- JSON
  is_manual BOOLEAN NOT NULL DEFAULT 0,
  paid_at DATETIME, -- new Date().toISOString()
  created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE receipts (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  payment_id INTEGER NOT NULL UNIQUE REFERENCES payments(id) ON DELETE CASCADE,
  public_id TEXT NOT NULL,
  file_name TEXT NOT NULL,
  mime_type TEXT NOT NULL DEFAULT 'image/png',
  scan BLOB,
  byte_size INTEGER NOT NULL DEFAULT 0 CHECK (byte_size >= 0),
  uploaded_at DATETIME NOT NULL -- new Date().toISOString()
);

CREATE TABLE integrations (
  name TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('payment', 'mail', 'storage', 'calendar')),
  config TEXT NOT NULL DEFAULT '{}', -- JSON
  enabled BOOLEAN NOT NULL DEFAULT 0,
  created_by INTEGER REFERENCES users ON DELETE SET NULL,
  updated_at TEXT DEFAULT (datetime('now'))
);

CREATE TABLE migrations (
  filename TEXT PRIMARY KEY,
  applied_at DATETIME DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_properties_owner ON properties(owner_id);
CREATE INDEX idx_properties_city ON properties(city, postal_code);
CREATE INDEX idx_leases_tenant ON leases(tenant_id);
CREATE UNIQUE INDEX idx_leases_one_active ON leases(unit_id) WHERE status = 'active';
CREATE UNIQUE INDEX idx_invoices_lease_period ON invoices(lease_id, period);
CREATE INDEX idx_payments_lease ON payments(lease_id, created_at DESC);
CREATE INDEX idx_payments_invoice ON payments(invoice_id) WHERE invoice_id IS NOT NULL;
