// The shop's database, on SQLite (SHOP_DATABASE is a path) or on Postgres (libpq's words as JSON), and its migrations.
const knex = require('knex')

const where = process.env.SHOP_DATABASE

const first = {
  async up(db) {
    await db.schema.createTable('users', (table) => {
      table.increments('id')
      table.string('email', 120).notNullable().unique()
      table.string('name', 40)
      table.boolean('active').notNullable().defaultTo(true)
      table.datetime('last_seen')
      table.timestamp('created_at').notNullable().defaultTo(db.fn.now())
      table.integer('invited_by').references('id').inTable('users')
    })
    await db.schema.createTable('listings', (table) => {
      table.bigIncrements('id')
      table.uuid('uid').notNullable().unique()
      table.integer('user_id').notNullable().references('id').inTable('users').onDelete('CASCADE')
      table.text('title').notNullable()
      table.decimal('price', 8, 2).notNullable()
      table.double('rating')
      table.json('details')
      table.enu('state', ['draft', 'open', 'closed']).notNullable()
      table.date('free_from')
      table.binary('photo')
    })
    await db.schema.createTable('settings', (table) => {
      table.string('key', 30).primary()
      table.text('value')
    })
    await db.schema.createTable('stays', (table) => {
      table.integer('user_id').notNullable().references('id').inTable('users')
      table.bigInteger('listing_id').notNullable().references('id').inTable('listings')
      table.smallint('nights').notNullable()
      table.primary(['user_id', 'listing_id'])
    })
  },
  async down() {},
}

const source = {
  async getMigrations() {
    return ['first']
  },
  getMigrationName(name) {
    return name
  },
  getMigration() {
    return first
  },
}

exports.postgres = where.startsWith('{')
exports.tables = ['users', 'listings', 'settings', 'stays']
exports.open = () =>
  exports.postgres
    ? knex({ client: 'pg', connection: JSON.parse(where), migrations: { migrationSource: source } })
    : knex({
        client: 'better-sqlite3',
        connection: { filename: where },
        useNullAsDefault: true,
        migrations: { migrationSource: source },
      })

exports.run = async (work) => {
  const db = exports.open()
  try {
    await work(db)
  } catch (error) {
    console.error(error)
    process.exitCode = 1
  } finally {
    await db.destroy()
  }
}
