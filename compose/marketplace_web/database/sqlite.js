import { readFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import { Conflict, Unavailable } from './index.js';

export function openSqlite({ path, busyTimeoutMs }) {
  const connection = new Database(path, { timeout: busyTimeoutMs });
  connection.pragma('journal_mode = WAL');
  connection.pragma('foreign_keys = ON');
  if (!connection.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'users'").get()) {
    connection.exec(readFileSync(new URL('../schema.sql', import.meta.url), 'utf8'));
  }
  // better-sqlite3 binds neither booleans nor undefined.
  const bound = (values) => values.map((value) => (typeof value === 'boolean' ? Number(value) : (value ?? null)));
  const run = (method, sql, values) => {
    try {
      return connection.prepare(sql)[method](...bound(values));
    } catch (error) {
      throw translated(error);
    }
  };
  return {
    name: 'sqlite',
    all: async (sql, ...values) => run('all', sql, values),
    get: async (sql, ...values) => run('get', sql, values),
    close: async () => connection.close(),
  };
}

function translated(error) {
  const code = String(error.code ?? '');
  if (['SQLITE_CONSTRAINT_UNIQUE', 'SQLITE_CONSTRAINT_PRIMARYKEY', 'SQLITE_CONSTRAINT_FOREIGNKEY'].includes(code)) {
    return new Conflict(error.message, { cause: error });
  }
  // SQLITE_CONSTRAINT_TRIGGER: a RAISE(ABORT), which is how a migration's fence refuses writes.
  if (/^SQLITE_(BUSY|LOCKED|READONLY|IOERR|CANTOPEN|CONSTRAINT_TRIGGER)/.test(code)) {
    return new Unavailable(error.message, { cause: error });
  }
  return error;
}
