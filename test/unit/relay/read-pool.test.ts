import { once } from 'node:events'
import net from 'node:net'
import type { AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { TargetReader } from '../../../src/contract/tunnel-stream.ts'
import { ReadPool } from '../../../src/relay/read-pool.ts'

/** A socket that reads through `pool`, and the server's end of it. */
async function openPair(pool: ReadPool) {
  const server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const arrival = once(server, 'connection') as Promise<[net.Socket]>
  const { port } = server.address() as AddressInfo
  const near = net.connect({ port, host: '127.0.0.1', onread: pool.onread, allowHalfOpen: true })
  near.on('error', () => {})
  const [far] = await arrival
  far.on('error', () => {})
  if (near.connecting) await once(near, 'connect')
  const end = pool.endOf(near)
  return {
    near,
    far,
    readWith: (reader: TargetReader) => end.readWith?.(reader),
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

  it('sockets share one set of options, and each is read by its own reader or none', async () => {
    const pool = new ReadPool()
    await using first = await openPair(pool)
    await using second = await openPair(pool)
    const log: string[] = []
    first.readWith(new Recorder(log, 'first'))
    second.near.on('data', (chunk: Buffer) => log.push(`data ${String(chunk)}`))
    first.far.end('one')
    second.far.end('two')
    await Promise.all([once(first.near, 'end'), once(second.near, 'end')])
    expect(log.toSorted()).toEqual(['data two', 'first one'])
  })
})

/** Writes down what it gets; has room unless told otherwise. */
class Recorder implements TargetReader {
  hasRoom = true
  bytes = 0
  readonly #log: string[]
  readonly #name: string

  constructor(log: string[] = [], name = '') {
    this.#log = log
    this.#name = name
  }

  onTargetData(from: Buffer, bytes: number): boolean {
    this.bytes += bytes
    this.#log.push(`${this.#name} ${from.toString('latin1', 0, Math.min(bytes, 32))}`.trim())
    return this.hasRoom
  }
}

/** Lets several reads happen, if there are any. */
async function someTurns(): Promise<void> {
  for (let left = 50; left > 0; left -= 1) await turn()
}

describe('a socket read without its Readable', () => {
  it('a reader gets what the target said first, then the rest, then the end', async () => {
    await using pair = await openPair(new ReadPool())
    const log: string[] = []
    pair.far.write('hello')
    while (pair.near.readableLength < 5) await turn()
    pair.near.on('end', () => log.push('end'))
    pair.readWith(new Recorder(log))
    expect(log).toEqual(['hello'])
    expect(pair.near.readableLength).toBe(0)
    pair.far.end('more')
    await once(pair.near, 'end')
    expect(log).toEqual(['hello', 'more', 'end'])
  })

  it('a reader gets what was said and ended before it came', async () => {
    await using pair = await openPair(new ReadPool())
    const log: string[] = []
    pair.far.end('all of it')
    while (pair.near.readableLength < 9 || !pair.far.writableFinished) await turn()
    await someTurns()
    pair.near.on('end', () => log.push('end'))
    pair.readWith(new Recorder(log))
    await once(pair.near, 'end')
    expect(log).toEqual(['all of it', 'end'])
  })

  it('a reader without room is told nothing until resume, the end included', async () => {
    await using pair = await openPair(new ReadPool())
    const log: string[] = []
    const reader = new Recorder(log)
    reader.hasRoom = false
    pair.near.on('end', () => log.push('end'))
    pair.readWith(reader)
    pair.far.write('1')
    while (log.length === 0) await turn()
    for (const expected of ['2', '3']) {
      pair.far.write(expected)
      await someTurns()
      const before = log.length
      await someTurns()
      expect(log).toHaveLength(before)
      pair.near.resume()
      while (log.length === before) await turn()
      expect(log.at(-1)).toBe(expected)
    }
    pair.far.end()
    await someTurns()
    expect(log).toEqual(['1', '2', '3'])
    pair.near.resume()
    await once(pair.near, 'end')
    expect(log).toEqual(['1', '2', '3', 'end'])
  })

  it('a reader without room for what was buffered is told nothing more until resume', async () => {
    await using pair = await openPair(new ReadPool())
    pair.far.write('early')
    while (pair.near.readableLength < 5) await turn()
    const log: string[] = []
    const reader = new Recorder(log)
    reader.hasRoom = false
    pair.readWith(reader)
    pair.far.write('late')
    await someTurns()
    expect(log).toEqual(['early'])
    pair.near.resume()
    while (log.length < 2) await turn()
    expect(log).toEqual(['early', 'late'])
  })

  it('a reader without room stops the target', async () => {
    await using pair = await openPair(new ReadPool())
    const reader = new Recorder()
    reader.hasRoom = false
    pair.readWith(reader)
    const block = Buffer.alloc(1_048_576)
    let sent = 0
    // Until the buffers of the system are full as well.
    for (let still = 0; still < 200; still += 1) {
      if (pair.far.writableNeedDrain) {
        await turn()
        continue
      }
      pair.far.write(block)
      sent += block.length
      still = 0
    }
    expect(sent).toBeGreaterThan(block.length)
    expect(reader.bytes).toBeLessThanOrEqual(65_500)
    expect(pair.near.readableLength).toBe(0)
    reader.hasRoom = true
    pair.near.resume()
    pair.far.end()
    await once(pair.near, 'end')
    expect(reader.bytes).toBe(sent)
  })

  it('a socket that was paused before it got a reader reads again with resume', async () => {
    await using pair = await openPair(new ReadPool())
    pair.near.pause()
    pair.far.write('x')
    await someTurns()
    const log: string[] = []
    pair.readWith(new Recorder(log))
    pair.near.resume()
    while (log.length === 0) await turn()
    expect(log).toEqual(['x'])
  })

  it('a reader is not told of a reset, but the socket closes', async () => {
    await using pair = await openPair(new ReadPool())
    const log: string[] = []
    pair.near.on('end', () => log.push('end'))
    pair.readWith(new Recorder(log))
    pair.far.resetAndDestroy()
    await new Promise((resolve) => pair.near.once('close', resolve))
    expect(log).toEqual([])
    expect(pair.near.errored).toMatchObject({ code: 'ECONNRESET' })
  })
})
