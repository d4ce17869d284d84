import express from 'express';
import { Conflict, openDatabase, Unavailable } from './database/index.js';
import { EventQueue } from './events.js';
import { standardIntegrations } from './integrations.js';
import { Invalid } from './routes/checks.js';
import { api } from './routes/index.js';
import { readSettings } from './settings.js';

const settings = readSettings();
const database = await openDatabase(settings);
const integrations = standardIntegrations();
const queue = new EventQueue(settings.redis, (event) => integrations.dispatch(event));
await queue.start();

const app = express();
app.disable('x-powered-by');
app.use(express.json({ limit: '64kb' }));
app.use('/api', api({ database, queue, integrations }));
app.use((request, response) => response.status(404).json({ error: 'not found' }));
app.use((error, request, response, next) => {
  if (response.headersSent) return next(error);
  if (error instanceof Unavailable) {
    response.set('Retry-After', '1').status(503).json({ error: 'the database does not take this now; try again' });
  } else if (error instanceof Conflict) {
    response.status(409).json({ error: error.message });
  } else if (error instanceof Invalid || error.type?.startsWith('entity.')) {
    response.status(error.status ?? 400).json({ error: error.message });
  } else {
    console.error(error);
    response.status(500).json({ error: 'internal error' });
  }
});

const server = app.listen(settings.port, () => {
  console.log(`marketplace_web on port ${settings.port}, database ${database.name}`);
});

// Answer what was begun, then end: a restart loses no request that was accepted.
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    server.close(async () => {
      await queue.stop();
      await database.close();
      process.exit(0);
    });
    server.closeIdleConnections();
  });
}
