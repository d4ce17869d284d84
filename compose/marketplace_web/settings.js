// Every setting comes from the environment: nothing that names a machine, a path or a database is in the code.
import { readFileSync } from 'node:fs';

/** A secret is a file; the variable holds its path, so that it shows up in no `docker inspect`. */
function secret(environment, name) {
  const path = environment[`${name}_FILE`];
  return path ? readFileSync(path, 'utf8').replace(/\n$/, '') : environment[name];
}

export function readSettings(environment = process.env) {
  const engine = environment.DATABASE ?? 'sqlite';
  if (engine !== 'sqlite' && engine !== 'postgres') {
    throw new Error(`DATABASE must be sqlite or postgres, not ${JSON.stringify(engine)}`);
  }
  return {
    port: Number(environment.PORT ?? 3101),
    engine,
    sqlite: { path: environment.SQLITE_PATH ?? 'marketplace.db', busyTimeoutMs: Number(environment.SQLITE_BUSY_TIMEOUT_MS ?? 5000) },
    postgres: {
      host: environment.PGHOST ?? '127.0.0.1',
      port: Number(environment.PGPORT ?? 5432),
      database: environment.PGDATABASE ?? 'marketplace',
      user: environment.PGUSER ?? 'marketplace_app',
      password: engine === 'postgres' ? secret(environment, 'PGPASSWORD') : undefined,
    },
    redis: environment.REDIS_HOST
      ? { host: environment.REDIS_HOST, port: Number(environment.REDIS_PORT ?? 6379), password: secret(environment, 'REDIS_PASSWORD') }
      : null,
  };
}
