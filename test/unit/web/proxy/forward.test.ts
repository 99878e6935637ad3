/**
 * A fault of ours while a request is forwarded is told once: before the answer to the caller, who logs and answers it,
 * afterwards in the log, whose line obeys the privacy level.
 */
import { connect } from 'node:net'
import { PassThrough } from 'node:stream'
import type { Writable } from 'node:stream'
import { pino } from 'pino'
import { expect, it } from 'vitest'
import { systemClock } from '../../../../src/clock.ts'
import type { PlainExchange } from '../../../../src/contract/exchange.ts'
import type { ForwardEnd } from '../../../../src/contract/forwarder.ts'
import type { Session } from '../../../../src/contract/session.ts'
import type { Privacy } from '../../../../src/log.ts'
import { IdleMonitor } from '../../../../src/relay/idle-monitor.ts'
import { ForwardProxy } from '../../../../src/web/proxy/forward.ts'
import { readHead } from '../../../support/raw-origin.ts'
import { openTcpTarget } from '../../../support/targets.ts'

const SECRET = '198.51.100.7'

function fault(): never {
  throw new TypeError(`cannot reach ${SECRET}`)
}

/** Forwards one GET, of which `part` fails. */
async function forward(
  part: object,
  privacy: Privacy,
): Promise<{ end: ForwardEnd; lines: string[]; reset: unknown }> {
  await using origin = await openTcpTarget(
    (socket) => void readHead(socket).then(() => socket.end('HTTP/1.1 200 OK\r\n\r\nhello')),
  )
  const lines: string[] = []
  const proxy = new ForwardProxy(
    { idleTimeoutMs: 10_000, privacy },
    {
      clock: systemClock,
      log: pino({ base: null }, { write: (line: string) => void lines.push(line) }),
      dialer: {
        dial: async () => {
          const io = connect({ port: origin.port, host: '127.0.0.1', allowHalfOpen: true })
          return { io: io.on('error', () => {}) }
        },
      },
      idleMonitor: new IdleMonitor(systemClock),
    },
  )
  let reset: unknown
  const exchange: PlainExchange = {
    kind: 'plain',
    session: { id: '1', protocol: 'HTTP2' } as Session,
    channel: 'main',
    authority: 'a.test',
    headers: {},
    signal: new AbortController().signal,
    method: 'GET',
    scheme: 'http',
    path: '/',
    body: () => new PassThrough().end(),
    refuse: fault,
    respond: fault,
    cancel: fault,
    reset: (reason: string) => void (reset = reason),
  }
  const target = { kind: 'name', host: 'a.test', port: 80 } as const
  const whole = Object.defineProperties(exchange, Object.getOwnPropertyDescriptors(part))
  const end = await proxy.forward(whole, target)
  return { end, lines, reset }
}

it('a fault of ours before the answer is left to the caller', async () => {
  const broken = {
    get headers(): never {
      return fault()
    },
  }
  const { end, lines, reset } = await forward(broken, 'full')
  expect(end).toMatchObject({ reason: 'aborted', failure: expect.any(TypeError) })
  expect(lines).toEqual([])
  expect(reset).toBeUndefined()
})

it.each(['full', 'no-targets'] as const)(
  'a fault of ours after the answer has begun resets it and is logged with its stack: %s',
  async (privacy) => {
    const sink = { on: fault, off: () => {} } as unknown as Writable
    const { end, lines, reset } = await forward({ respond: () => sink }, privacy)
    expect(end).toEqual({ reason: 'aborted', uplinkBytes: 0, downlinkBytes: 0 })
    expect(reset).toBe('internal_error')
    expect(lines).toHaveLength(1)
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      level: 50,
      session: '1',
      err: { type: 'TypeError', stack: expect.stringContaining('    at ') },
    })
    expect(lines[0]?.includes(SECRET)).toBe(privacy === 'full')
  },
)
