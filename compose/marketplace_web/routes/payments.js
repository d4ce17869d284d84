import { Router } from 'express';
import { cents, id, now, oneOf, page, text } from './checks.js';

const METHODS = ['card', 'sepa', 'cash', 'paypal'];
const COLUMNS = 'id, lease_id, amount_cents, currency, method, status, provider_ref, is_manual, created_at';

export function payments({ database, queue }) {
  const router = Router();
  router.get('/', async (request, response) => {
    const { provider_ref: reference } = request.query;
    const rows = reference === undefined
      ? await database.all(`SELECT ${COLUMNS} FROM payments ORDER BY id LIMIT ? OFFSET ?`, ...page(request.query))
      : await database.all(`SELECT ${COLUMNS} FROM payments WHERE provider_ref = ? ORDER BY id`, text(reference, 'provider_ref'));
    response.json({ payments: rows.map(shown) });
  });
  router.get('/:id', async (request, response) => {
    const row = await database.get(`SELECT ${COLUMNS} FROM payments WHERE id = ?`, id(request.params.id, 'id'));
    row ? response.json(shown(row)) : response.status(404).json({ error: 'no such payment' });
  });
  router.post('/', async (request, response) => {
    const { lease_id: lease, amount_cents: amount, currency = 'EUR', method, provider_ref: reference = null } = request.body;
    const row = await database.get(
      `INSERT INTO payments (lease_id, amount_cents, currency, method, status, provider_ref, is_manual, created_at)
       VALUES (?, ?, ?, ?, 'pending', ?, ?, ?) RETURNING ${COLUMNS}`,
      id(lease, 'lease_id'), cents(amount, 'amount_cents'), text(currency, 'currency', 3), oneOf(method, 'method', METHODS),
      reference === null ? null : text(reference, 'provider_ref'), method === 'cash', now(),
    );
    await queue.publish('payment.created', { id: row.id });
    response.status(201).json(shown(row));
  });
  return router;
}

const shown = (row) => ({ ...row, is_manual: Boolean(row.is_manual) });
