/**
 * An HTTP/3 transport in a process of its own, so that its memory can be measured. The authority of a CONNECT says what
 * happens to it: `stall` reads nothing, `slow` reads 20 MB per second, `source` writes forever, `give` writes 16 MiB.
 */
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import type { Duplex } from 'node:stream'
import { pino } from 'pino'
import { systemClock } from '../../src/clock.ts'
import { Counters } from '../../src/counters.ts'
import { SpillArea } from '../../src/relay/spill-area.ts'
import { MAX_EVENT_DEBT } from '../../src/transport/http3/options.ts'
import { Http3Transport } from '../../src/transport/http3/transport.ts'
import type { Exchange } from '../../src/contract/exchange.ts'
import { testCertificate } from './certificate.ts'
import { openPlace } from './open-place.ts'
import { HTTP3_OPTIONS } from './room-options.ts'

export interface ServerReport {
  readonly rssBytes: number
  readonly counters: Record<string, number>
  /** Held for uploads, in memory and on disk. */
  readonly heldBytes: number
  /** From the last `slow` upload that has ended. */
  readonly received: { readonly bytes: number; readonly sha256: string } | undefined
}

const MEGABYTE = 1024 * 1024
const SLOW_BYTES_PER_SECOND = 20_000_000
const TICKS_PER_SECOND = 50

const counters = new Counters()
const log = pino({ level: 'silent' })
const { cert, key } = testCertificate()
const chunk = Buffer.alloc(64 * 1024, 'culvert')
let received: ServerReport['received']

const uploads = new SpillArea(
  { directory: tmpdir(), memoryBytes: 32 * MEGABYTE, budgetBytes: 1024 * MEGABYTE },
  { counters, log },
)

const transport = new Http3Transport(
  {
    ...HTTP3_OPTIONS,
    host: '127.0.0.1',
    port: 0,
    cert: Buffer.from(cert),
    key: Buffer.from(key),
    eventDebt: MAX_EVENT_DEBT,
  },
  {
    clock: systemClock,
    counters,
    log,
    uploads,
    admit: openPlace,
    userOf: ({ id }) => id,
    channelOf: () => 'main',
    acceptSession: () => ({ onExchange: perform, onClose: () => {} }),
  },
)

function perform(request: Exchange): void {
  if (request.kind !== 'connect') return request.refuse(405)
  const { io } = request.accept()
  if (request.authority === 'slow') readSlowly(io)
  else if (request.authority === 'source') writeChunks(io, Infinity)
  else if (request.authority === 'give') writeChunks(io, (16 * MEGABYTE) / chunk.length)
}

function readSlowly(io: Duplex): void {
  const hash = createHash('sha256')
  let bytes = 0
  let allowed = 0
  io.on('readable', () => {})
  const timer = setInterval(() => {
    allowed = Math.min(allowed, 0) + SLOW_BYTES_PER_SECOND / TICKS_PER_SECOND
    while (allowed > 0) {
      const next = io.read() as Buffer | null
      if (next === null) return
      hash.update(next)
      bytes += next.length
      allowed -= next.length
    }
  }, 1000 / TICKS_PER_SECOND)
  io.once('end', () => {
    received = { bytes, sha256: hash.digest('hex') }
    io.end()
  })
  io.once('close', () => clearInterval(timer))
}

function writeChunks(io: Duplex, count: number): void {
  let left = count
  const go = (): void => {
    while (left > 0 && !io.destroyed) {
      left--
      if (!io.write(chunk)) return void io.once('drain', go)
    }
    io.end()
  }
  io.resume()
  go()
}

const started = await transport.start()
process.send?.(started.kind === 'listening' ? { port: started.port } : { error: started.error.message })

process.on('message', (message) => {
  if (message === 'report') {
    const report: ServerReport = {
      rssBytes: process.memoryUsage.rss(),
      counters: counters.snapshot(),
      heldBytes: uploads.memoryBytes + uploads.storedBytes,
      received,
    }
    process.send?.(report)
  }
})
process.once('disconnect', () => process.exit())
