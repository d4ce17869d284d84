// Everything the shop holds as Knex reads it, one row a line; what the drivers hand over differently is made alike.
const { postgres, run, tables } = require('./shop.js')

const boolean = new Set(['active'])
const moment = new Set(['last_seen', 'created_at'])
const number = new Set(['id', 'listing_id', 'price'])

const plain = (name, value) => {
  if (value === null) return null
  if (Buffer.isBuffer(value)) return value.toString('hex')
  if (boolean.has(name)) return Boolean(value)
  if (number.has(name)) return Number(value)
  if (moment.has(name)) return new Date(typeof value === 'string' ? `${value.replace(' ', 'T')}Z` : value).toISOString()
  if (name === 'details') return typeof value === 'string' ? JSON.parse(value) : value
  if (name === 'free_from' && postgres) return value.toLocaleDateString('sv')
  return value
}

run(async (db) => {
  for (const table of tables) {
    const rows = await db(table).select('*')
    const lines = rows.map((row) => {
      const pairs = Object.entries(row).map(([name, value]) => [name, plain(name, value)])
      return `${table} ${JSON.stringify(Object.fromEntries(pairs))}`
    })
    for (const line of lines.sort()) console.log(line)
  }
})
