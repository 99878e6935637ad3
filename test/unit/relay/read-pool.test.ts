import { once } from 'node:events'
import net from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { ReadPool } from '../../../src/relay/read-pool.ts'

/** A socket that reads through `pool`, and the server's end of it. */
async function openPair(pool: ReadPool) {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const arrival = once(server, 'connection') as Promise<[net.Socket]>
  const { port } = server.address() as AddressInfo
  const near: net.Socket = net.connect({ port, host: '127.0.0.1', onread: pool.readInto(() => near) })
  const [far] = await arrival
  return {
    near,
    far,
    [Symbol.asyncDispose]: async () => {
      near.destroy()
      far.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

describe('ReadPool', () => {
  it('the read pool gives what was sent, small and large, and the end', async () => {
    const pool = new ReadPool()
    await using pair = await openPair(pool)
    const sent = Buffer.alloc(1_000_000, 'culvert')
    pair.far.write('small')
    expect(String((await once(pair.near, 'data'))[0])).toBe('small')
    pair.far.end(sent)
    const chunks: Buffer[] = []
    for await (const chunk of pair.near) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).equals(sent)).toBe(true)
  })

  it('the read pool uses a block again once it was given back, and never before', async () => {
    const pool = new ReadPool()
    await using pair = await openPair(pool)
    const seen = new Set<ArrayBufferLike>()
    let held: Buffer | undefined
    pair.near.on('data', (chunk: Buffer) => {
      if (chunk.length <= 4096) return
      held ??= chunk
      if (chunk !== held) {
        expect(chunk.buffer).not.toBe(held.buffer)
        pool.recycle(chunk)
      }
      seen.add(chunk.buffer)
    })
    pair.far.end(Buffer.alloc(8_000_000, 1))
    await once(pair.near, 'end')
    expect(held?.every((byte) => byte === 1)).toBe(true)
    expect(seen.size).toBeLessThan(10)
  })

  it('the read pool leaves memory alone that is not its own', () => {
    const pool = new ReadPool()
    expect(() => pool.recycle(Buffer.from('not a block'))).not.toThrow()
  })

  it('the read pool stops the reader while nobody reads', async () => {
    await using pair = await openPair(new ReadPool())
    pair.near.pause()
    let accepted = 0
    while (accepted < 64_000_000 && pair.far.write(Buffer.alloc(65_536))) accepted += 65_536
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(pair.near.readableLength).toBeLessThan(300_000)
  })
})
