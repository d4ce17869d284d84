// Makes the shop's tables, with Knex's own history of it.
const { run } = require('./shop.js')

run((db) => db.migrate.latest())
