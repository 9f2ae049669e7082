// Turns, functions, channels, and a task followed live to its conversation.

import assert from 'node:assert/strict'

import { aKit, first, streamed, until } from './kit.mjs'

const kit = aKit()
const kinds = (events) => events.map((event) => event.type).filter((kind, n, all) => kind !== all[n - 1])
const STREAM = ['completeBegin', 'token', 'completeEnd', 'usage', 'message', 'result']

const { id } = await kit.conversation.create({ backstory: 'You are Bo.', model: 'offline' })
const sent = await kit.conversation.send(id, { text: 'Hello – 👋?' })
assert.deepEqual(sent.entities, [])
const received = await kit.conversation.receive(id, {})
assert.match(received.text, /^I am Bo\. You asked “Hello – 👋\?”/)
assert.ok(received.usage.token > 0)
assert.deepEqual((await kit.conversation.complete(id, { text: 'And now?' })).end, { reason: 'stop' })
assert.deepEqual(kinds(await streamed(kit.conversation.send(id, { text: 'And?' }))), ['result'])

const messages = [{ type: 'user', text: 'Who – 👋?' }]
const turns = [
  kit.conversation.receive(id, {}),
  kit.conversation.complete(id, { text: 'Hm – 👋?' }),
  kit.conversation.complete(null, { backstory: 'You are Cy.', messages }),
]
for (const turn of turns) {
  const events = await streamed(turn)
  assert.deepEqual(kinds(events), STREAM)
  const tokens = events.filter((event) => event.type === 'token').map((event) => event.data.token)
  assert.equal(tokens.join(''), events.at(-1).data.text)
}
const stateless = await kit.conversation.complete(null, { backstory: 'You are Cy.', messages })
assert.match(stateless.text, /^I am Cy\./)

const weather = {
  name: 'getWeather',
  description: 'The weather.',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
}
const text = 'Get weather in Oslo.'
const withData = [{ ...weather, result: { data: { degrees: 5 } } }]
assert.match((await kit.conversation.complete(id, { text, functions: withData })).text, /getWeather said/)
const left = await kit.conversation.complete(id, { text, functions: [weather] })
assert.deepEqual(left.end, { reason: 'activity' })

const fresh = await kit.conversation.create({ model: 'offline' })
const onChannel = [{ ...weather, result: { channel: 'the-weather-in-a-channel' } }]
const heard = []
for await (const event of kit.conversation.complete(fresh.id, { text, functions: onChannel }).stream()) {
  heard.push(event)
  if (event.type === 'waitForChannelMessageBegin') {
    assert.deepEqual(event.data.function, { name: 'getWeather', args: { city: text } })
    await kit.channel.publish(event.data.channel, { message: { data: { degrees: 7 } } })
  }
}
const wait = heard.find((event) => event.type === 'waitForChannelMessageEnd')
assert.deepEqual(wait.data.message, { data: { degrees: 7 } })
assert.match(heard.at(-1).data.text, /7/)

const { channelId } = await kit.conversation.dispatch(fresh.id, { text: 'Go.' })
const end = await first(kit.channel.subscribe(channelId), (event) => event.data.type === 'result')
assert.equal(end.data.data.end.reason, 'stop')
const background = await kit.conversation.dispatch(null, { messages })
await first(kit.channel.subscribe(background.channelId), (event) => event.data.type === 'result')

const task = await kit.task.create({ name: 'Morning', description: 'Say good morning.' })
const live = first(kit.task.subscribe(task.id, { historyLength: 100 }), (event) => event.type === 'operationBegin')
assert.equal((await kit.task.trigger(task.id)).id, task.id)
const operation = await live
assert.equal(typeof operation.createdAt, 'number')
assert.equal(typeof operation.data.id, 'string')
assert.equal(typeof operation.data.action.id, 'string')
const execution = await until(async () => {
  const { items } = await kit.task.execution.list(task.id)
  return items[0]?.completedAt && items[0]
})
assert.match(execution.completedAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
assert.deepEqual([execution.status, execution.outcome], ['idle', 'success'])
assert.equal((await kit.conversation.fetch(execution.conversationId)).taskId, task.id)
const said = await kit.conversation.message.list(execution.conversationId)
assert.deepEqual(
  said.items.map((message) => message.type),
  ['user', 'bot']
)

const bot = await kit.bot.create({ model: 'offline/latency=50' })
const long = await kit.task.create({ name: 'Long', botId: bot.id })
await kit.task.trigger(long.id)
const running = await until(async () => (await kit.task.execution.list(long.id, { status: 'running' })).items[0])
assert.equal((await kit.task.execution.cancel(long.id, running.id)).taskId, long.id)
assert.equal((await kit.task.cancel(long.id)).id, long.id)

const events = first(kit.event.log.subscribe({ historyLength: 100 }), (event) => event.type === 'item')
assert.equal(typeof (await events).data.type, 'string')
process.exit(0) // streams that were left early keep their connections
