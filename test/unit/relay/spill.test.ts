import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Counters } from '../../../src/counters.ts'
import { SpillArea } from '../../../src/relay/spill-area.ts'
import type { SpillBuffer } from '../../../src/relay/spill.ts'

const log = pino({ level: 'silent' })
const KILOBYTE = 1024
const MEGABYTE = 1024 * KILOBYTE

let directory = ''
let counters = new Counters()

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-spill-'))
  counters = new Counters()
})

afterEach(async () => {
  // Nothing stays on disk, and no descriptor stays open.
  expect(await readdir(directory)).toEqual([])
  await expect.poll(() => openFiles(directory)).toBe(0)
  await rm(directory, { recursive: true })
})

async function openFiles(under: string): Promise<number> {
  const links = await Promise.all(
    (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  )
  return links.filter((path) => path.startsWith(under)).length
}

function createArea(memoryBytes: number, budgetBytes: number, at = directory): SpillArea {
  return new SpillArea({ directory: at, memoryBytes, budgetBytes }, { counters, log })
}

/** A buffer, together with what its listener was called with. */
class Subject {
  readonly buffer: SpillBuffer
  overflow: string | undefined
  #onReadable: (() => void) | undefined
  #readable = false

  constructor(area: SpillArea, key: string | (() => string | undefined) = 'user') {
    this.buffer = area.open(typeof key === 'string' ? () => key : key, {
      onReadable: () => {
        this.#readable = true
        this.#onReadable?.()
      },
      onOverflow: (reason) => (this.overflow = reason),
    })
  }

  /** The next chunk, from memory or disk. */
  async next(): Promise<Buffer> {
    for (;;) {
      const chunk = this.buffer.read()
      if (chunk !== undefined) return chunk
      if (!this.#readable) await new Promise<void>((resolve) => (this.#onReadable = resolve))
      this.#readable = false
    }
  }

  async readAll(): Promise<Buffer> {
    const chunks: Buffer[] = []
    while (!this.buffer.empty) chunks.push(Buffer.from(await this.next()))
    return Buffer.concat(chunks)
  }
}

/** Bytes that differ wherever they are. */
function pattern(bytes: number, from = 0): Buffer {
  const chunk = Buffer.allocUnsafe(bytes)
  for (let at = 0; at < bytes; at++) chunk[at] = ((from + at) * 31 + ((from + at) >> 8)) & 0xff
  return chunk
}

describe('SpillBuffer', () => {
  test('a spill buffer keeps little in memory without touching the disk', async () => {
    const subject = new Subject(createArea(MEGABYTE, 0))
    subject.buffer.write(Buffer.from('one '))
    subject.buffer.write(Buffer.from('two'))
    expect(String(await subject.readAll())).toBe('one two')
    expect(subject.buffer.read()).toBeUndefined()
    expect(counters.snapshot()).toEqual({})
    subject.buffer.destroy()
  })

  test('a spill buffer copies what it is given', async () => {
    const subject = new Subject(createArea(MEGABYTE, 0))
    const chunk = Buffer.from('before')
    subject.buffer.write(chunk)
    chunk.fill('x')
    expect(String(await subject.readAll())).toBe('before')
    subject.buffer.destroy()
  })

  test('a spill buffer gives 20 MB back in order through the disk', async () => {
    const area = createArea(MEGABYTE, 64 * MEGABYTE)
    const subject = new Subject(area)
    const sent = pattern(20 * MEGABYTE)
    for (let at = 0; at < sent.length; at += 16 * KILOBYTE)
      subject.buffer.write(sent.subarray(at, at + 16 * KILOBYTE))
    await expect.poll(() => area.storedBytes).toBeGreaterThan(15 * MEGABYTE)
    expect((await subject.readAll()).equals(sent)).toBe(true)
    expect(area.storedBytes).toBe(0)
    subject.buffer.destroy()
  })

  test('a spill buffer keeps the order in any interleaving of writes and reads', async () => {
    const step = fc.record({
      write: fc.integer({ min: 0, max: 700 * KILOBYTE }),
      reads: fc.integer({ min: 0, max: 8 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const subject = new Subject(createArea(300 * KILOBYTE, 64 * MEGABYTE))
        let sent = 0
        let received = 0
        const take = async (): Promise<void> => {
          const chunk = await subject.next()
          expect(chunk.equals(pattern(chunk.length, received))).toBe(true)
          received += chunk.length
        }
        for (const { write, reads } of steps) {
          subject.buffer.write(pattern(write, sent))
          sent += write
          for (let read = 0; read < reads && !subject.buffer.empty; read++) await take()
        }
        while (!subject.buffer.empty) await take()
        expect(received).toBe(sent)
        subject.buffer.destroy()
      }),
      { numRuns: 40 },
    )
  })

  test('a spill buffer uses the file again instead of growing with the stream', async () => {
    const area = createArea(512 * KILOBYTE, 4 * MEGABYTE)
    const subject = new Subject(area)
    let sent = 0
    let received = 0
    // 40 MB through a budget of 4 MB, with a backlog all the time.
    while (sent < 40 * MEGABYTE) {
      subject.buffer.write(pattern(MEGABYTE, sent))
      sent += MEGABYTE
      while (sent - received > 3 * MEGABYTE) {
        const chunk = await subject.next()
        expect(chunk.equals(pattern(chunk.length, received))).toBe(true)
        received += chunk.length
      }
    }
    expect(subject.overflow).toBeUndefined()
    subject.buffer.destroy()
    expect(area.storedBytes).toBe(0)
  })

  test('a spill buffer gives up when the budget is used up, by all streams of the key together', async () => {
    const area = createArea(256 * KILOBYTE, 2 * MEGABYTE)
    const first = new Subject(area)
    const second = new Subject(area)
    const other = new Subject(area, 'another user')
    first.buffer.write(pattern(2 * MEGABYTE))
    await expect.poll(() => area.storedBytes).toBeGreaterThan(MEGABYTE)
    second.buffer.write(pattern(2 * MEGABYTE))
    await expect.poll(() => second.overflow ?? first.overflow).toBe('budget')
    other.buffer.write(pattern(2 * MEGABYTE))
    expect((await other.readAll()).length).toBe(2 * MEGABYTE)
    expect(other.overflow).toBeUndefined()
    expect(counters.snapshot()).toMatchObject({ 'spill_overflows{budget}': 1 })
    for (const { buffer } of [first, second, other]) buffer.destroy()
    expect(area.storedBytes).toBe(0)
  })

  test('a spill buffer gives up when the disk fails', async () => {
    const subject = new Subject(createArea(0, MEGABYTE, join(directory, 'missing')))
    subject.buffer.write(pattern(MEGABYTE))
    await expect.poll(() => subject.overflow).toBe('disk_failed')
    expect(subject.buffer.read()).toBeUndefined()
  })

  test('a spill buffer says when too much waits for the disk, and when that is over', async () => {
    const area = createArea(MEGABYTE, 64 * MEGABYTE)
    const subject = new Subject(area)
    expect(area.congested).toBe(false)
    subject.buffer.write(pattern(8 * MEGABYTE))
    expect(area.congested).toBe(true)
    await new Promise<void>((resolve) => area.onRelief(resolve))
    expect(area.congested).toBe(false)
    subject.buffer.destroy()
  })

  test('a spill buffer forgets everything when it is destroyed in the middle of writes', async () => {
    const area = createArea(0, 64 * MEGABYTE)
    const subject = new Subject(area)
    subject.buffer.write(pattern(8 * MEGABYTE))
    subject.buffer.destroy()
    subject.buffer.destroy()
    subject.buffer.write(pattern(8))
    expect(subject.buffer.empty).toBe(true)
    expect(area).toMatchObject({ congested: false, storedBytes: 0 })
  })
})

describe('the memory of all streams', () => {
  test('the memory of all streams gives one stream half of it before the disk is used, and of two a third each', async () => {
    const area = createArea(12 * MEGABYTE, 64 * MEGABYTE)
    const first = new Subject(area)
    first.buffer.write(pattern(6 * MEGABYTE))
    expect(area.memoryBytes).toBe(6 * MEGABYTE)
    const second = new Subject(area)
    for (let turn = 0; turn < 8; turn++) {
      for (const { buffer } of [first, second]) {
        buffer.write(pattern(MEGABYTE))
        await expect.poll(() => area.congested).toBe(false)
      }
    }
    await expect.poll(() => area.memoryBytes).toBeLessThan(9 * MEGABYTE)
    expect(area.storedBytes).toBeGreaterThan(12 * MEGABYTE)
    expect((await second.readAll()).length).toBe(8 * MEGABYTE)
    for (const { buffer } of [first, second]) buffer.destroy()
    expect(area.memoryBytes).toBe(0)
  })

  test('the memory of all streams leaves a little for a stream that comes when all is taken', async () => {
    const area = createArea(0, 64 * MEGABYTE)
    const subject = new Subject(area)
    subject.buffer.write(pattern(64 * KILOBYTE))
    expect(counters.snapshot()).toEqual({})
    expect((await subject.readAll()).length).toBe(64 * KILOBYTE)
    subject.buffer.destroy()
  })

  test('the memory of all streams keeps the oldest bytes there: they are read next', async () => {
    const area = createArea(4 * MEGABYTE, 64 * MEGABYTE)
    const subject = new Subject(area)
    subject.buffer.write(pattern(4 * MEGABYTE))
    await expect.poll(() => area.storedBytes).toBeGreaterThan(MEGABYTE)
    for (let read = 0; read < MEGABYTE; read += subject.buffer.read()?.length ?? Infinity);
    subject.buffer.destroy()
  })
})

describe('a stranger', () => {
  test('a stranger gets nothing on the disk, and half as much memory as users with all others', () => {
    const area = createArea(16 * MEGABYTE, 64 * MEGABYTE)
    const strangers = Array.from({ length: 12 }, () => new Subject(area, () => undefined))
    for (const { buffer } of strangers) buffer.write(pattern(MEGABYTE))
    expect(area.memoryBytes).toBeLessThanOrEqual(8 * MEGABYTE)
    expect(strangers.filter(({ overflow }) => overflow === 'stranger').length).toBeGreaterThan(3)
    expect(area.storedBytes).toBe(0)
    for (const { buffer } of strangers) buffer.destroy()
    expect(area.memoryBytes).toBe(0)
  })

  test('a stranger is a user from the moment of his authentication', async () => {
    let name: string | undefined
    const area = createArea(16 * MEGABYTE, 64 * MEGABYTE)
    const subject = new Subject(area, () => name)
    subject.buffer.write(pattern(MEGABYTE))
    name = 'user'
    subject.buffer.write(pattern(20 * MEGABYTE, MEGABYTE))
    expect((await subject.readAll()).equals(pattern(21 * MEGABYTE))).toBe(true)
    expect(subject.overflow).toBeUndefined()
    subject.buffer.destroy()
  })
})

describe('a chunk that was lent', () => {
  test('a chunk that was lent is handed on as it is and not given back', () => {
    const subject = new Subject(createArea(MEGABYTE, 0))
    const given: Buffer[] = []
    const chunks = [pattern(64 * KILOBYTE), pattern(40 * KILOBYTE)]
    for (const chunk of chunks) subject.buffer.write(chunk, (back) => given.push(back))
    subject.buffer.write(pattern(5))
    expect(subject.buffer.read()).toBe(chunks[0])
    expect(subject.buffer.read()).toBe(chunks[1])
    expect(subject.buffer.read()).toEqual(pattern(5))
    subject.buffer.destroy()
    expect(given).toEqual([])
  })

  test('a chunk that was lent is given back when the stream ends before it was read', () => {
    const subject = new Subject(createArea(MEGABYTE, 0))
    const given: Buffer[] = []
    const chunk = pattern(64 * KILOBYTE)
    subject.buffer.write(chunk, (back) => given.push(back))
    subject.buffer.destroy()
    subject.buffer.destroy()
    expect(given).toEqual([chunk])
  })

  /** Memory that was given back is no longer ours: the write to disk must never look at it. */
  test('a chunk that was lent is given back once at most, and is never what the disk writes', async () => {
    const step = fc.record({
      chunks: fc.integer({ min: 0, max: 20 }),
      lent: fc.boolean(),
      reads: fc.integer({ min: 0, max: 16 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const subject = new Subject(createArea(600 * KILOBYTE, 64 * MEGABYTE))
        const lentNow = new Set<Buffer>()
        const giveBack = (chunk: Buffer): void => {
          expect(lentNow.delete(chunk)).toBe(true)
          chunk.fill(0xee)
        }
        let sent = 0
        let received = 0
        const take = async (): Promise<void> => {
          const chunk = await subject.next()
          expect(chunk.equals(pattern(chunk.length, received))).toBe(true)
          received += chunk.length
          // Its reader has written it on.
          if (lentNow.has(chunk)) giveBack(chunk)
        }
        for (const { chunks, lent, reads } of steps) {
          for (let count = 0; count < chunks; count++) {
            const chunk = pattern(48 * KILOBYTE, sent)
            sent += chunk.length
            if (lent) lentNow.add(chunk)
            subject.buffer.write(chunk, lent ? giveBack : undefined)
          }
          for (let read = 0; read < reads && !subject.buffer.empty; read++) await take()
        }
        while (!subject.buffer.empty) await take()
        expect(received).toBe(sent)
        expect(lentNow.size).toBe(0)
        subject.buffer.destroy()
      }),
      { numRuns: 40 },
    )
  })
})
