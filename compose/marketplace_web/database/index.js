// Two databases behind one interface:
//   name                      'sqlite' or 'postgres'
//   all(sql, ...values)       the rows
//   get(sql, ...values)       the first row, or undefined
//   close()
// Statements are written once, with `?` for values, in the SQL that both understand. What each driver does in its own
// way (booleans, 64-bit integers, dates, JSON) ends here: routes see numbers, booleans and text.

export async function openDatabase(settings) {
  if (settings.engine === 'postgres') {
    const { openPostgres } = await import('./postgres.js');
    return openPostgres(settings.postgres);
  }
  const { openSqlite } = await import('./sqlite.js');
  return openSqlite(settings.sqlite);
}

/** The request cannot be served now, but may be in a moment. */
export class Unavailable extends Error {}

/** The request contradicts what is stored: a value that must be unique, or a row that does not exist. */
export class Conflict extends Error {}
