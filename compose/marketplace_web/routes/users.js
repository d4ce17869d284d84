import { randomBytes, scryptSync } from 'node:crypto';
import { Router } from 'express';
import { Conflict } from '../database/index.js';
import { id, now, oneOf, page, text } from './checks.js';

const ROLES = ['tenant', 'landlord', 'admin'];
const COLUMNS = 'id, email, full_name, phone, role, is_verified, created_at';

export function users({ database, queue }) {
  const router = Router();
  router.get('/', async (request, response) => {
    const rows = await database.all(`SELECT ${COLUMNS} FROM users ORDER BY id LIMIT ? OFFSET ?`, ...page(request.query));
    response.json({ users: rows.map(shown) });
  });
  router.get('/:id', async (request, response) => {
    const row = await database.get(`SELECT ${COLUMNS} FROM users WHERE id = ?`, id(request.params.id, 'id'));
    row ? response.json(shown(row)) : response.status(404).json({ error: 'no such user' });
  });
  router.post('/', async (request, response) => {
    const { email, full_name: name, phone, role = 'tenant', password } = request.body;
    text(email, 'email');
    // SQLite's NOCASE is in the column, Postgres' answer is an index on lower(email): this finds it in both.
    if (await database.get('SELECT id FROM users WHERE lower(email) = lower(?)', email)) {
      throw new Conflict(`${email} is registered already`);
    }
    const salt = randomBytes(16);
    const hash = `scrypt:${salt.toString('hex')}:${scryptSync(text(password, 'password'), salt, 32).toString('hex')}`;
    const row = await database.get(
      `INSERT INTO users (email, password_hash, full_name, phone, role, is_verified, created_at)
       VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING ${COLUMNS}`,
      email, hash, text(name, 'full_name'), phone, oneOf(role, 'role', ROLES), false, now(),
    );
    await queue.publish('user.created', { id: row.id });
    response.status(201).json(shown(row));
  });
  return router;
}

/** SQLite has 0 and 1 where Postgres has false and true. */
const shown = (row) => ({ ...row, is_verified: Boolean(row.is_verified) });
