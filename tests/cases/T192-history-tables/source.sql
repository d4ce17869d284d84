CREATE TABLE migrations (filename TEXT NOT NULL, applied_at DATETIME DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE django_migrations (id INTEGER PRIMARY KEY, app VARCHAR(255) NOT NULL, name VARCHAR(255) NOT NULL, applied DATETIME NOT NULL);
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO migrations VALUES('001.sql', '2024-01-02 03:04:05');
INSERT INTO django_migrations VALUES(1, 'auth', '0001', '2024-01-02 03:04:05.123456'), (2, 'auth', '0002', '2024-01-02 03:04:05');
INSERT INTO alembic_version VALUES('abc');
