// What requests may hold. Each check returns the value or throws Invalid.

export class Invalid extends Error {}

export function text(value, name, longest = 200) {
  if (typeof value !== 'string' || !value.trim() || value.length > longest) {
    throw new Invalid(`${name}: text of 1 to ${longest} characters`);
  }
  return value;
}

/** Money is whole cents: 19.99 * 100 is 1998.9999999999998. */
export function cents(value, name) {
  if (!Number.isSafeInteger(value) || value < 0) throw new Invalid(`${name}: a whole number of cents`);
  return value;
}

export function id(value, name) {
  const number = Number(value);
  if (!Number.isSafeInteger(number) || number < 1) throw new Invalid(`${name}: a positive whole number`);
  return number;
}

export function oneOf(value, name, allowed) {
  if (!allowed.includes(value)) throw new Invalid(`${name}: one of ${allowed.join(', ')}`);
  return value;
}

export function date(value, name) {
  if (typeof value !== 'string' || !/^\d{4}-\d{2}-\d{2}$/.test(value) || Number.isNaN(Date.parse(value))) {
    throw new Invalid(`${name}: a date as YYYY-MM-DD`);
  }
  return value;
}

/** LIMIT and OFFSET of a list. */
export function page(query) {
  const limit = Math.min(Number(query.limit ?? 50) || 50, 500);
  return [limit, Math.max(Number(query.offset ?? 0) || 0, 0)];
}

/** Now, as both databases store it: the application says what time it is, not `datetime('now')` or `now()`. */
export function now() {
  return new Date().toISOString().slice(0, 19).replace('T', ' ');
}
