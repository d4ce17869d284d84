// Uses the shop on Postgres as its visitors would, and writes without meeting a used key.
const assert = require('node:assert/strict')
const { run } = require('./shop.js')

run(async (db) => {
  const highest = async (table) => Number((await db(table).max('id as id'))[0].id)
  const user = await db('users').where({ email: 'user20@example.org' }).first()
  assert.equal(typeof user.active, 'boolean')
  assert.ok(user.created_at instanceof Date)
  const open = await db('listings').join('users', 'users.id', 'listings.user_id').where({ state: 'open', active: true })
  assert.ok(open.length > 0)
  assert.ok((await db('listings').whereRaw("details ->> 'rooms' = '3'")).length > 0)
  const before = { users: await highest('users'), listings: await highest('listings') }
  const [made] = await db('users').insert({ email: 'new@example.org', invited_by: user.id }).returning('*')
  assert.ok(made.id > before.users)
  // The user that was deleted on SQLite had the number 61.
  assert.equal(made.id, 62)
  assert.equal(made.active, true)
  const [listing] = await db('listings')
    .insert({ uid: '00000000-0000-4000-8000-000000000000', user_id: made.id, title: 'new', price: 0.1, state: 'draft' })
    .returning('*')
  assert.ok(Number(listing.id) > before.listings)
  await db('stays').insert({ user_id: made.id, listing_id: listing.id, nights: 3 })
  await assert.rejects(db('stays').insert({ user_id: 9999, listing_id: 1, nights: 1 }), { code: '23503' })
  await assert.rejects(db('users').insert({ email: 'user1@example.org' }), { code: '23505' })
  // Knex finds nothing left to migrate: its history is its own.
  const [, ran] = await db.migrate.latest()
  assert.deepEqual(ran, [])
})
