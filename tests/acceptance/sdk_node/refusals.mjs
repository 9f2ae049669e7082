// Errors as the SDK tells them, and how many requests it made for each: it repeats 429 and 5xx alone.

import assert from 'node:assert/strict'

import { FOREIGN_TOKEN, aKit, refused } from './kit.mjs'

const NOWHERE = '00000000-0000-7000-8000-000000000000'
const asked = []
const nativeFetch = globalThis.fetch
globalThis.fetch = async (url, init) => {
  const answer = await nativeFetch(url, init)
  asked.push(answer.status)
  return answer
}

async function refusedOnce(response, status, code) {
  asked.length = 0
  await refused(response, code)
  assert.deepEqual(asked, [status])
}

const kit = aKit()
const { id } = await kit.conversation.create({})
await refusedOnce(kit.task.create({ name: 'T', schedule: 'nonsense' }), 400, 'BAD_REQUEST')
await refusedOnce(kit.conversation.send(id, { text: ' ' }), 400, 'BAD_REQUEST')
await refusedOnce(aKit({ secret: 'ct_wrong' }).conversation.create({}), 401, 'NOT_AUTHENTICATED')
await refusedOnce(aKit({ secret: FOREIGN_TOKEN }).conversation.delete(id), 403, 'NOT_AUTHORIZED')
await refusedOnce(kit.conversation.delete(NOWHERE), 404, 'NOT_FOUND')
await refusedOnce(kit.graphql.call({ query: '{a}' }), 404, 'NOT_FOUND')
await refusedOnce(kit.clientFetch('/api/v1/bot/create'), 405, 'METHOD_NOT_ALLOWED')
await refusedOnce(kit.bot.create({ backstory: 'x'.repeat(2_000_000) }), 413, 'CONTENT_TOO_LARGE')

asked.length = 0
await assert.rejects(async () => {
  for await (const event of kit.conversation.complete(NOWHERE, { text: 'Hi.' }).stream()) {
    assert.fail(event.type)
  }
}, { code: 'NOT_FOUND' })
assert.deepEqual(asked, [404])

// The foreign account may ask for one turn a minute: the second is repeated and never stored.
const foreign = aKit({ secret: FOREIGN_TOKEN })
const own = await foreign.conversation.create({})
await foreign.conversation.send(own.id, { text: 'One.' })
asked.length = 0
await refused(foreign.conversation.send(own.id, { text: 'Two.' }), 'LIMITS_REACHED')
assert.deepEqual(asked, [429, 429, 429, 429])
assert.equal((await foreign.conversation.message.list(own.id)).items.length, 1)
