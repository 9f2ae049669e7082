// Secrets: made, found, listed, changed, deleted, and never told.

import assert from 'node:assert/strict'

import { aKit, listed, refused } from './kit.mjs'

const kit = aKit()
const meta = { of: 'secrets' }
const value = 'CANARY-sk-5e1f'

const secret = await kit.secret.create({ name: 'weather', type: 'bearer', kind: 'shared', value, meta })
const found = await kit.secret.fetch(secret.id)
assert.deepEqual([found.name, found.type, found.kind, found.meta], ['weather', 'bearer', 'shared', meta])
assert.equal((await kit.secret.update(secret.id, { type: 'basic', value: `ada:${value}` })).id, secret.id)
const [item] = await listed(() => kit.secret.list({ meta }))
assert.deepEqual([item.id, item.type], [secret.id, 'basic'])
assert.ok(!JSON.stringify([found, item]).includes(value))
await refused(kit.secret.create({ name: 'x', type: 'oauth', value }), 'BAD_REQUEST')
assert.equal((await kit.secret.delete(secret.id)).id, secret.id)
await refused(kit.secret.fetch(secret.id), 'NOT_FOUND')
