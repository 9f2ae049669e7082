// What the scripts share: the SDK's client for the service under test, and small words to ask with.

import assert from 'node:assert/strict'

import { ChatBotKit } from '@chatbotkit/sdk'

export const { ORIGIN, TOKEN, FOREIGN_TOKEN } = process.env

export function aKit(options = {}) {
  return new ChatBotKit({ secret: TOKEN, baseUrl: ORIGIN, ...options })
}

export async function streamed(response) {
  const items = []
  for await (const item of response.stream()) {
    items.push(item)
  }
  return items
}

// The items of the first page and those of the stream, which must be the same.
export async function listed(ask) {
  const page = await ask()
  const items = await streamed(ask())
  assert.ok(items.every((item) => item.type === 'item'))
  assert.deepEqual(
    items.map((item) => item.data),
    page.items
  )
  assert.equal(page.cursor, page.items.at(-1)?.id ?? '')
  return page.items
}

export async function first(response, wanted) {
  for await (const item of response.stream()) {
    if (wanted(item)) {
      return item
    }
  }
  assert.fail('The stream ended before that.')
}

export async function refused(response, code) {
  await assert.rejects(async () => await response, { name: 'FetchError', code })
}

export async function until(ask) {
  for (;;) {
    const answer = await ask()
    if (answer) {
      return answer
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
