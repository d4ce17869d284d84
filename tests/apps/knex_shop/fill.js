// Fills the shop as it would fill itself over time; the numbers come from a generator with a seed.
const { run } = require('./shop.js')

let seed = 7
// Tommy Ettinger's mulberry32; the low bits of simpler generators repeat too soon to choose by.
const chance = (limit) => {
  seed = (seed + 0x6d2b79f5) | 0
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
}
const uuid = (number) => `6f9619ff-8b86-4011-b42d-${number.toString(16).padStart(12, '0')}`

run(async (db) => {
  const begun = Date.UTC(2026, 0, 2, 3, 4, 5)
  for (let number = 1; number <= 60; number += 1) {
    await db('users').insert({
      email: `user${number}@example.org`,
      name: chance(3) ? `Nutzer ${number} 🚲` : null,
      active: chance(2) === 1,
      last_seen: chance(4) ? new Date(begun + chance(1e9)) : null,
      invited_by: number > 10 ? 1 + chance(10) : null,
    })
  }
  // Ids that were used once must not come again.
  await db('users').insert({ email: 'gone@example.org', active: false })
  await db('users').where({ email: 'gone@example.org' }).delete()
  for (let number = 1; number <= 200; number += 1) {
    await db('listings').insert({
      uid: uuid(number),
      user_id: 1 + chance(60),
      title: number % 7 ? `Zimmer ${number}` : 'it\'s "quoted"\n\\',
      price: chance(1e8) / 100,
      rating: chance(2) ? chance(50) / 10 : null,
      details: chance(2) ? JSON.stringify({ rooms: chance(5), a: ['ä', null, 1.5] }) : null,
      state: ['draft', 'open', 'closed'][chance(3)],
      free_from: chance(2) ? `2026-0${1 + chance(9)}-1${chance(10)}` : null,
      photo: chance(2) ? Buffer.from([0, 255, chance(256)]) : null,
    })
  }
  await db('settings').insert([{ key: 'currency', value: 'EUR' }, { key: 'größe', value: null }])
  for (let user = 1; user <= 60; user += 1) {
    await db('stays').insert({ user_id: user, listing_id: 1 + chance(200), nights: 1 + chance(30) })
  }
})
