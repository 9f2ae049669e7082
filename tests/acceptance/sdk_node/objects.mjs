// Every object of the core resources: made, found, listed, changed, deleted.

import assert from 'node:assert/strict'

import { aKit, listed, refused, streamed } from './kit.mjs'

const kit = aKit()
const ids = (items) => items.map((item) => item.id)
const meta = { of: 'objects' }

const bot = await kit.bot.create({ name: 'Bo', backstory: 'You are Bo.', model: { name: 'offline', config: {} }, meta })
assert.equal((await kit.bot.update(bot.id, { description: 'Kind.' })).id, bot.id)
const found = await kit.bot.fetch(bot.id)
assert.deepEqual([found.name, found.description, found.model, found.meta], ['Bo', 'Kind.', 'offline', meta])
assert.equal(typeof found.createdAt, 'number')
assert.deepEqual(ids(await listed(() => kit.bot.list({ meta }))), [bot.id])
assert.equal((await kit.bot.upvote(bot.id, {})).id, bot.id)
assert.equal((await kit.bot.downvote(bot.id, { reason: 'No.' })).id, bot.id)

const contact = await kit.contact.create({ name: 'Grace', fingerprint: 'node-1', meta })
assert.equal((await kit.contact.ensure({ fingerprint: 'node-1' })).id, contact.id)
assert.equal((await kit.contact.update(contact.id, { email: 'g@example.com' })).id, contact.id)
assert.equal((await kit.contact.fetch(contact.id)).fingerprint, 'node-1')
assert.deepEqual(ids(await listed(() => kit.contact.list({ meta }))), [contact.id])

const messages = [{ type: 'user', text: 'Grüße 👋' }]
const conversation = await kit.conversation.create({ botId: bot.id, contactId: contact.id, messages, meta })
assert.deepEqual(
  conversation.messages.map(({ type, text }) => ({ type, text })),
  messages
)
assert.equal((await kit.conversation.update(conversation.id, { name: 'Named' })).id, conversation.id)
assert.equal((await kit.conversation.fetch(conversation.id)).name, 'Named')
assert.deepEqual(ids(await listed(() => kit.conversation.list({ botId: bot.id }))), [conversation.id])
assert.equal((await kit.conversation.upvote(conversation.id, {})).id, conversation.id)
assert.equal((await kit.conversation.downvote(conversation.id, {})).id, conversation.id)

const said = kit.conversation.message
const message = await said.create(conversation.id, { type: 'bot', text: 'Hello.' })
assert.deepEqual(message.entities, [])
assert.equal((await said.update(conversation.id, message.id, { text: 'Hello!' })).id, message.id)
assert.equal((await said.fetch(conversation.id, message.id)).text, 'Hello!')
assert.equal((await said.upvote(conversation.id, message.id, {})).id, message.id)
assert.equal((await said.downvote(conversation.id, message.id, {})).id, message.id)
assert.deepEqual(
  (await listed(() => said.list(conversation.id))).map((item) => item.text),
  ['Grüße 👋', 'Hello!']
)
assert.equal((await said.delete(conversation.id, message.id)).id, message.id)
const items = Array.from({ length: 100 }, (_, index) => ({ type: 'user', text: `${index} é 👋` }))
const path = `/api/v1/conversation/${conversation.id}/message/batch/create`
assert.equal((await kit.clientFetch(path, { record: { items } })).items.length, 100)
assert.equal((await said.list(conversation.id)).items.length, 100)
const all = await streamed(said.list(conversation.id))
assert.deepEqual(
  all.map((item) => item.data.text),
  ['Grüße 👋', ...items.map((item) => item.text)]
)

const task = await kit.task.create({ name: 'T', botId: bot.id, contactId: contact.id, schedule: 'daily', meta })
assert.equal((await kit.task.update(task.id, { schedule: 'never' })).id, task.id)
assert.deepEqual(ids(await listed(() => kit.task.list({ meta }))), [task.id])
assert.deepEqual(
  (await streamed(kit.task.export({ meta }))).map((item) => item.data.id),
  [task.id]
)
assert.deepEqual(ids(await listed(() => kit.contact.conversation.list(contact.id))), [conversation.id])
assert.deepEqual(ids(await listed(() => kit.contact.task.list(contact.id))), [task.id])
assert.deepEqual(await listed(() => kit.contact.space.list(contact.id)), [])
assert.deepEqual(await listed(() => kit.contact.secret.list(contact.id)), [])

const dataset = await kit.dataset.create({ name: 'D', meta })
assert.equal((await kit.dataset.update(dataset.id, { name: 'E' })).id, dataset.id)
assert.equal((await kit.dataset.fetch(dataset.id)).name, 'E')
assert.deepEqual(ids(await listed(() => kit.dataset.list({ meta }))), [dataset.id])
const record = await kit.dataset.record.create(dataset.id, { text: 'Cats purr.' })
assert.equal((await kit.dataset.record.update(dataset.id, record.id, { text: 'Cats meow.' })).id, record.id)
assert.equal((await kit.dataset.record.fetch(dataset.id, record.id)).text, 'Cats meow.')
assert.deepEqual(ids(await listed(() => kit.dataset.record.list(dataset.id))), [record.id])
assert.equal((await streamed(kit.dataset.record.export(dataset.id))).length, 1)
assert.deepEqual(ids((await kit.dataset.search(dataset.id, 'cats')).records), [record.id])

const skillset = await kit.skillset.create({ name: 'S', meta })
assert.equal((await kit.skillset.update(skillset.id, { name: 'R' })).id, skillset.id)
assert.equal((await kit.skillset.fetch(skillset.id)).name, 'R')
assert.deepEqual(ids(await listed(() => kit.skillset.list({ meta }))), [skillset.id])
const ability = await kit.skillset.ability.create(skillset.id, { name: 'a', description: 'b', instruction: 'c' })
assert.equal((await kit.skillset.ability.update(skillset.id, ability.id, { name: 'd' })).id, ability.id)
assert.equal((await kit.skillset.ability.fetch(skillset.id, ability.id)).instruction, 'c')
assert.deepEqual(ids(await listed(() => kit.skillset.ability.list(skillset.id))), [ability.id])
assert.equal((await streamed(kit.skillset.ability.export(skillset.id))).length, 1)
assert.equal((await kit.skillset.ability.delete(skillset.id, ability.id)).id, ability.id)

assert.deepEqual(ids(await listed(() => kit.platform.model.list())), ['offline'])
assert.equal(typeof (await kit.usage.fetch()).database.records, 'number')
assert.equal((await kit.usage.series.fetch()).tokens.length, 90)
assert.ok((await kit.event.log.list({ take: 5 })).items.every((event) => typeof event.type === 'string'))
assert.ok((await streamed(kit.event.log.export())).some((event) => event.data.conversationId === conversation.id))
assert.equal((await kit.team.list()).items.length, 1)

assert.equal((await kit.dataset.record.delete(dataset.id, record.id)).id, record.id)
const places = [
  [kit.dataset, dataset],
  [kit.skillset, skillset],
  [kit.task, task],
  [kit.conversation, conversation],
  [kit.contact, contact],
  [kit.bot, bot],
]
for (const [client, row] of places) {
  assert.equal((await client.delete(row.id)).id, row.id)
  await refused(client.fetch(row.id), 'NOT_FOUND')
}
