// The token of a session, used by a page of another origin.

import assert from 'node:assert/strict'

import { ORIGIN, aKit, refused, streamed } from './kit.mjs'

const PAGE = 'https://shop.example'
const kit = aKit()

function inBrowser(token) {
  return aKit({ secret: token, headers: { origin: PAGE }, timezone: 'Asia/Tokyo' })
}

async function allowed(path, method) {
  const headers = {
    origin: PAGE,
    'access-control-request-method': method,
    'access-control-request-headers': 'authorization,content-type,accept,x-timezone',
  }
  const answer = await fetch(`${ORIGIN}${path}`, { method: 'OPTIONS', headers })
  const words = (name) => (answer.headers.get(name) ?? '').split(/, */)
  return answer.ok &&
    ['*', PAGE].includes(answer.headers.get('access-control-allow-origin')) &&
    words('access-control-allow-methods').includes(method) &&
    headers['access-control-request-headers'].split(',').every((name) => words('access-control-allow-headers').includes(name))
}

const { id } = await kit.conversation.create({ backstory: 'You are Bo.', model: 'offline' })
const other = await kit.conversation.create({})
const before = Date.now()
const session = await kit.conversation.session.create(id, { durationInSeconds: 1800 })
assert.equal(session.id, id)
assert.ok(Math.abs(session.expiresAt - before - 1_800_000) < 60_000)
await refused(kit.conversation.session.create(id, { durationInSeconds: 60 }), 'BAD_REQUEST')

const verbs = [['send', 'POST'], ['receive', 'POST'], ['complete', 'POST'], ['message/create', 'POST'], ['message/list', 'GET']]
for (const [verb, method] of verbs) {
  assert.ok(await allowed(`/api/v1/conversation/${id}/${verb}`, method), verb)
}
assert.equal(await allowed('/api/v1/task/list', 'GET'), false)

const page = inBrowser(session.token)
assert.deepEqual((await page.conversation.send(id, { text: 'Hello?' })).entities, [])
assert.match((await page.conversation.receive(id, {})).text, /^I am Bo\./)
assert.equal((await streamed(page.conversation.complete(id, { text: 'And?' }))).at(-1).type, 'result')
await page.conversation.message.create(id, { type: 'user', text: 'Last.' })
assert.equal((await page.conversation.message.list(id)).items.at(-1).text, 'Last.')
const headers = { authorization: `Bearer ${session.token}`, origin: PAGE }
const answer = await fetch(`${ORIGIN}/api/v1/conversation/${id}/message/list`, { headers, mode: 'cors' })
assert.ok(['*', PAGE].includes(answer.headers.get('access-control-allow-origin')))

for (const outside of [
  () => page.conversation.fetch(id),
  () => page.conversation.delete(id),
  () => page.conversation.list(),
  () => page.conversation.send(other.id, { text: 'Hi.' }),
  () => page.conversation.message.list(other.id),
  () => page.bot.list(),
]) {
  await refused(outside(), 'NOT_AUTHORIZED')
}
await refused(inBrowser(`${session.token}x`).conversation.send(id, { text: 'Hi.' }), 'NOT_AUTHENTICATED')

const bot = await kit.bot.create({ backstory: 'You are Cy.', model: 'offline' })
const messages = [{ type: 'bot', text: 'Welcome.' }]
const opened = await kit.bot.session.create(bot.id, { messages })
assert.equal(opened.id, bot.id)
assert.deepEqual(opened.messages.map(({ type, text }) => ({ type, text })), messages)
const talk = inBrowser(opened.token)
assert.match((await talk.conversation.complete(opened.conversationId, { text: 'Who?' })).text, /^I am Cy\./)
assert.equal((await talk.conversation.message.list(opened.conversationId)).items[0].text, 'Welcome.')
