/**
 * A fault of ours while a tunnel is opened, such as a `TypeError` in a forwarder, used to look like a target that
 * refused: the client got its 502, and the log a line at info level that did not say where it happened. The client gets
 * the same answer still; the log has the fault at error level with its stack, without addresses that the privacy level
 * hides, and the next request is served. A page of the site that threw ended the whole lane.
 */
import { Readable } from 'node:stream'
import { pino } from 'pino'
import { expect, it } from 'vitest'
import { Counters } from '../../../src/counters.ts'
import { EndpointError } from '../../../src/errors.ts'
import type { ConnectExchange, PlainExchange } from '../../../src/contract/exchange.ts'
import type { Session } from '../../../src/contract/session.ts'
import type { OpenTunnel, TunnelContext } from '../../../src/contract/forwarder.ts'
import { AuthThrottle } from '../../../src/dispatch/auth-throttle.ts'
import { Dispatcher } from '../../../src/dispatch/dispatcher.ts'
import { SessionRegistry } from '../../../src/dispatch/session-registry.ts'
import type { Privacy } from '../../../src/log.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { settled } from '../../support/settled.ts'
import { openAddresses, OpenLedger } from '../../support/lane-share.ts'

const CLIENT = '192.0.2.1'
const TARGET = '198.51.100.7:443'
const USER = { name: 'alice', maxTcpSessions: null, maxQuicSessions: null }
const ANSWER = { status: 502, headers: { 'x-warning': '300 - Connection failed for some reason' } }
const ERROR_LEVEL = 50
const INFO_LEVEL = 30

function unexpected(): never {
  throw new Error('not expected here')
}

const session: Session = {
  id: '1',
  protocol: 'HTTP2',
  remoteAddress: CLIENT,
  remotePort: 1,
  serverName: 'vpn.endpoint',
  state: 'open',
  openStreams: 0,
  trust: () => {},
  close: () => Promise.resolve(),
  destroy: unexpected,
}

/** A line of the log. */
type Line = Record<string, unknown> & { readonly err?: { readonly stack: string } }

interface Stage {
  readonly lines: readonly Line[]
  readonly counters: Counters
  /** What clients were answered, in order; `reset` for a stream that was ended abruptly. */
  readonly answers: unknown[]
  readonly connect: (changes?: Partial<ConnectExchange>) => void
  readonly get: () => void
}

/** A dispatcher whose forwarder and site fail as `fail` does. */
function stage(fail: () => OpenTunnel, privacy: Privacy = 'full'): Stage {
  const clock = new FakeClock()
  const counters = new Counters()
  const lines: Line[] = []
  const answers: unknown[] = []
  const forwarder = { open: (_target: unknown, context: TunnelContext) => context.onOpen(fail()) }
  const dispatcher = new Dispatcher(
    { authFailureStatus: 407, realm: 'x', privacy, severalUsersPerSession: false, maxTunnelsPerUser: 1 },
    {
      clock,
      counters,
      log: pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line) as Line) }),
      registry: new SessionRegistry({ idleTimeoutMs: 60_000 }, { clock, counters }),
      throttle: new AuthThrottle({ maxFailures: 0, refillMs: 1000 }, { clock, failures: openAddresses() }),
      slots: new OpenLedger(),
      directory: { authenticate: () => ({ user: USER, validUntil: Infinity }) },
      forwarders: { tcp: forwarder, udp: forwarder, icmp: forwarder, check: forwarder },
      site: {
        handle: unexpected,
        handleDecoyStatus: unexpected,
        mayForward: () => true,
        forward: async () => {
          try {
            fail()
            return unexpected()
          } catch (failure) {
            return { reason: 'aborted', uplinkBytes: 0, downlinkBytes: 0, failure }
          }
        },
      },
    },
  )
  const listener = dispatcher.acceptSession(session)
  const common = {
    session,
    channel: 'main' as const,
    authority: TARGET,
    headers: { 'proxy-authorization': 'right' },
    signal: new AbortController().signal,
    refuse: (status: number, headers?: object) => void answers.push({ status, headers }),
    reset: () => void answers.push('reset'),
    respond: unexpected,
    cancel: unexpected,
  }
  const connect: ConnectExchange = {
    ...common,
    kind: 'connect',
    method: 'CONNECT',
    keepFields: () => {},
    accept: unexpected,
  }
  const get: PlainExchange = {
    ...common,
    kind: 'plain',
    method: 'GET',
    scheme: 'http',
    path: '/',
    body: () => Readable.from([]),
  }
  return {
    lines,
    counters,
    answers,
    connect: (changes = {}) => listener.onExchange({ ...connect, ...changes }),
    get: () => listener.onExchange(get),
  }
}

/** The kind of fault that no one has thought of, with both addresses in its message and in that of its cause. */
function faultOfOurs(): never {
  const cause = Object.assign(new RangeError(`${CLIENT} wants ${TARGET}`), { code: 'ERR_OUT_OF_RANGE' })
  throw new TypeError(`cannot read ${TARGET} of ${CLIENT}`, { cause })
}

it.each(['connect', 'get'] as const)(
  'a fault while a request is opened is answered like a refusal and logged as a fault: %s',
  async (kind) => {
    const { lines, answers, counters, ...send } = stage(faultOfOurs)
    send[kind]()
    await settled(() => lines.length > 0)
    expect(answers).toEqual([ANSWER])
    expect(counters.snapshot()).toMatchObject({ 'refused_requests{target_refused}': 1 })
    expect(lines).toEqual([
      expect.objectContaining({
        level: ERROR_LEVEL,
        code: 'target_refused',
        status: 502,
        user: 'alice',
        client: CLIENT,
        target: TARGET,
        cause: 'ERR_OUT_OF_RANGE',
      }),
    ])
    expect(lines[0]?.err).toMatchObject({ type: 'TypeError' })
    expect(lines[0]?.err?.stack).toMatch(/cannot read .*\n +at faultOfOurs .*faults\.test\.ts/)
  },
)

it('a fault does not keep the place of its request, so that the next is served', async () => {
  const outcomes = [
    faultOfOurs,
    (): OpenTunnel => ({ endsAtOnce: true, run: unexpected, destroy: unexpected }),
  ]
  const { answers, connect } = stage(() => (outcomes.shift() ?? unexpected)())
  connect()
  await settled(() => answers.length === 1)
  connect({ accept: () => answers.push('accepted') as never })
  await settled(() => answers.length === 2)
  expect(answers).toEqual([ANSWER, 'accepted'])
})

it.each([
  ['no-targets', [TARGET]],
  ['anonymous', [TARGET, CLIENT]],
] as const)('the log of a fault names no address that %s hides', async (privacy, hidden) => {
  const { lines, connect } = stage(faultOfOurs, privacy)
  connect()
  await settled(() => lines.length > 0)
  for (const address of hidden) expect(JSON.stringify(lines)).not.toContain(address)
  expect(lines[0]).toMatchObject({ level: ERROR_LEVEL, user: 'alice', cause: 'ERR_OUT_OF_RANGE' })
  expect(lines[0]?.err).toMatchObject({ type: 'TypeError' })
  expect(lines[0]?.err?.stack).toMatch(
    /^ +at faultOfOurs .*faults\.test\.ts[^]*\ncaused by: RangeError\n +at /,
  )
})

it('a fault is logged when the client has left, without an answer', async () => {
  const { lines, answers, counters, connect } = stage(faultOfOurs)
  connect({ signal: AbortSignal.abort() })
  await settled(() => lines.length > 0)
  expect(lines).toMatchObject([{ level: ERROR_LEVEL, target: TARGET, err: { type: 'TypeError' } }])
  expect(answers).toEqual([])
  expect(counters.snapshot()).not.toHaveProperty('refused_requests{target_refused}')
})

it('a fault after a tunnel is open names its request and none of the hidden addresses', async () => {
  const { lines, answers, connect } = stage(() => ({ run: faultOfOurs, destroy: unexpected }), 'anonymous')
  connect({ accept: () => undefined as never })
  await settled(() => lines.length > 0)
  expect(lines).toMatchObject([
    { level: ERROR_LEVEL, session: '1', user: 'alice', err: { type: 'TypeError' } },
  ])
  for (const address of [TARGET, CLIENT]) expect(JSON.stringify(lines)).not.toContain(address)
  expect(answers).toEqual(['reset'])
})

it('a page that throws costs its request alone', () => {
  const { lines, answers, connect } = stage(unexpected)
  connect({ channel: 'decoy' })
  expect(answers).toEqual(['reset'])
  expect(lines).toMatchObject([{ level: ERROR_LEVEL, session: '1', err: { type: 'Error' } }])
})

it('a target that refuses is no fault', async () => {
  const { lines, answers, connect } = stage(() => {
    throw new EndpointError('target_refused', 'the connection failed')
  })
  connect()
  await settled(() => lines.length > 0)
  expect(answers).toEqual([ANSWER])
  expect(lines).toMatchObject([
    { level: INFO_LEVEL, code: 'target_refused', reason: 'the connection failed' },
  ])
  expect(lines[0]).not.toHaveProperty('err')
})
