/** The memory of request heads is freed by a collection that nothing else would trigger. */
import { expect, it } from 'vitest'
import { HeadMemory } from '../../../../src/transport/http2/head-memory.ts'

it('the memory of heads is collected once per 32 MiB of fields, whatever they are', () => {
  let collections = 0
  const heads = new HeadMemory(() => collections++)
  const head = [':authority', 'a.test:1', 'cookie', 'x'.repeat(1024 * 1024 - 108), 'x-one', 'y'.repeat(100)]
  for (let i = 0; i < 31; i++) heads.onHead(head)
  expect(collections).toBe(0)
  heads.onHead(head)
  expect(collections).toBe(1)
  for (let i = 0; i < 31; i++) heads.onHead(head)
  expect(collections).toBe(1)
})
