import { Router } from 'express';
import { leases } from './leases.js';
import { payments } from './payments.js';
import { users } from './users.js';

/** Everything below /api. `parts` = { database, queue, integrations }. */
export function api(parts) {
  const router = Router();
  router.use('/users', users(parts));
  router.use('/leases', leases(parts));
  router.use('/payments', payments(parts));
  router.get('/integrations', (request, response) => response.json({ integrations: parts.integrations.list() }));
  router.get('/health', async (request, response) => {
    const database = { engine: parts.database.name, reachable: true };
    try {
      // Asked each time: "the file exists" or "it was there at the start" is not health.
      await parts.database.get('SELECT count(*) AS users FROM users');
    } catch (error) {
      Object.assign(database, { reachable: false, error: error.message });
    }
    response.status(database.reachable ? 200 : 503).json({
      ok: database.reachable,
      database,
      queue: parts.queue.engine,
      integrations_registered: parts.integrations.count,
    });
  });
  return router;
}
