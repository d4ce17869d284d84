import pg from 'pg';
import { Conflict, Unavailable } from './index.js';

const CONNECTIONS = 10;

// node-pg gives int8 and numeric as text and dates as Date in the machine's time zone. Routes want what SQLite gave
// them: numbers, and times as the text that is stored.
const text = (value) => value;
const types = new Map([
  [20, safeInteger], // int8
  [1700, Number], // numeric
  [114, text], [3802, text], // json, jsonb
  [1082, text], [1083, text], [1114, text], [1184, text], // date, time, timestamp, timestamptz
]);

export async function openPostgres(settings) {
  const pool = new pg.Pool({
    ...settings,
    max: CONNECTIONS,
    connectionTimeoutMillis: 3000,
    application_name: 'marketplace_web',
    types: { getTypeParser: (oid, format) => types.get(oid) ?? pg.types.getTypeParser(oid, format) },
  });
  pool.on('error', (error) => console.error(`idle connection lost: ${error.message}`)); // the pool opens another
  const rows = async (sql, values) => {
    let number = 0;
    try {
      return (await pool.query(sql.replaceAll('?', () => `$${++number}`), values.map((value) => value ?? null))).rows;
    } catch (error) {
      throw translated(error);
    }
  };
  return {
    name: 'postgres',
    all: async (sql, ...values) => rows(sql, values),
    get: async (sql, ...values) => (await rows(sql, values))[0],
    close: async () => pool.end(),
  };
}

function safeInteger(value) {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value; // beyond 2^53 only the text is exact
}

function translated(error) {
  const code = String(error.code ?? '');
  if (code === '23505' || code === '23503') return new Conflict(error.message, { cause: error });
  // Connection trouble, too many clients, shutdown, lock or statement time-outs, and rights not (or no longer) granted.
  const passing = /^(08|53|57)/.test(code) || ['42501', '55P03', '25006'].includes(code) || /^E[A-Z]+$/.test(code);
  if (passing || /timeout|terminated/i.test(error.message)) return new Unavailable(error.message, { cause: error });
  return error;
}
