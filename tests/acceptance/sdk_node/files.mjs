// Attachments and files, whose bytes go where an `uploadRequest` says.

import assert from 'node:assert/strict'

import { ORIGIN, TOKEN, aKit, refused } from './kit.mjs'

const kit = aKit()
const data = 'col\nGrüße 👋\n'
const size = new TextEncoder().encode(data).length

const { id } = await kit.conversation.create({})
// The SDK itself posts to /api/v1/Attachment/{id}/upload.
const attachment = await kit.conversation.attachment.upload(id, { data, type: 'text/csv', name: 'a.csv' })
const path = `/api/v1/conversation/${id}/attachment`
const record = { file: { type: 'text/csv', size, name: 'b.csv' } }
const right = await kit.clientFetch(`${path}/upload`, { record })
assert.equal(right.uploadRequest.url.startsWith(ORIGIN), true)
const { url, method, headers } = right.uploadRequest
await kit.clientFetch(url, { method, headers, buffer: new TextEncoder().encode(data).buffer, external: true })
const { items } = await kit.clientFetch(`${path}/list`)
assert.deepEqual(new Set(items.map((item) => item.id)), new Set([attachment.id, right.id]))
assert.ok(items.every((item) => item.size === size && item.type === 'text/csv'))

const file = await kit.file.create({ name: 'Table' })
assert.equal((await kit.file.upload(file.id, { data, type: 'text/csv', name: 't.csv' })).id, file.id)
const download = await kit.file.download(file.id)
const bytes = download.url ? await (await fetch(download.url)).arrayBuffer() : download.data
assert.equal(new TextDecoder().decode(bytes), data)
assert.equal((await kit.file.update(file.id, { name: 'Chart' })).id, file.id)
assert.equal((await kit.file.fetch(file.id)).name, 'Chart')
assert.ok((await kit.file.list()).items.some((item) => item.id === file.id))
assert.equal((await kit.file.sync(file.id)).id, file.id)

const dataset = await kit.dataset.create({})
await kit.dataset.file.attach(dataset.id, file.id, { type: 'source' })
assert.deepEqual((await kit.dataset.file.list(dataset.id)).items.map((item) => item.id), [file.id])
await kit.dataset.file.sync(dataset.id, file.id, {})
await kit.dataset.file.detach(dataset.id, file.id, { deleteRecords: true })
assert.deepEqual((await kit.dataset.file.list(dataset.id)).items, [])
assert.equal((await kit.file.delete(file.id)).id, file.id)
await refused(kit.file.upload(file.id, { data, type: 'text/csv' }), 'NOT_FOUND')
assert.ok(TOKEN)
