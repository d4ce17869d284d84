import { Router } from 'express';
import { cents, date, id, now, page } from './checks.js';

const COLUMNS = 'id, unit_id, tenant_id, status, start_date, end_date, rent_cents, created_at';

export function leases({ database, queue }) {
  const router = Router();
  router.get('/', async (request, response) => {
    response.json({
      leases: await database.all(`SELECT ${COLUMNS} FROM leases ORDER BY id LIMIT ? OFFSET ?`, ...page(request.query)),
    });
  });
  router.get('/:id', async (request, response) => {
    const row = await database.get(`SELECT ${COLUMNS} FROM leases WHERE id = ?`, id(request.params.id, 'id'));
    row ? response.json(row) : response.status(404).json({ error: 'no such lease' });
  });
  router.post('/', async (request, response) => {
    const { unit_id: unit, tenant_id: tenant, start_date: start, end_date: end = null, rent_cents: rent } = request.body;
    const row = await database.get(
      `INSERT INTO leases (unit_id, tenant_id, status, start_date, end_date, rent_cents, created_at)
       VALUES (?, ?, 'draft', ?, ?, ?, ?) RETURNING ${COLUMNS}`,
      id(unit, 'unit_id'), id(tenant, 'tenant_id'), date(start, 'start_date'),
      end === null ? null : date(end, 'end_date'), cents(rent, 'rent_cents'), now(),
    );
    await queue.publish('lease.created', { id: row.id });
    response.status(201).json(row);
  });
  return router;
}
