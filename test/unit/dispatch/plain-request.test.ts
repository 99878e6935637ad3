/** Which plain requests are forwarded. Guessing passwords with them costs time just as it does with CONNECT. */
import { Readable } from 'node:stream'
import { pino } from 'pino'
import { expect, it } from 'vitest'
import { Counters } from '../../../src/counters.ts'
import { AuthThrottle } from '../../../src/dispatch/auth-throttle.ts'
import { SessionRegistry } from '../../../src/dispatch/session-registry.ts'
import type { PlainExchange } from '../../../src/contract/exchange.ts'
import type { Session } from '../../../src/contract/session.ts'
import { Dispatcher } from '../../../src/dispatch/dispatcher.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { openAddresses, OpenLedger } from '../../support/lane-share.ts'

const REFILL_MS = 1000
const USER = { name: 'alice', maxTcpSessions: null, maxQuicSessions: null }

const session: Session = {
  id: '1',
  protocol: 'HTTP2',
  remoteAddress: '192.0.2.1',
  remotePort: 1,
  serverName: 'vpn.endpoint',
  state: 'open',
  openStreams: 0,
  trust: () => {},
  close: () => Promise.resolve(),
  destroy: () => {},
}

function unexpected(): never {
  throw new Error('not expected here')
}

function requestOf(changes: Partial<PlainExchange>): PlainExchange {
  return {
    kind: 'plain',
    session,
    channel: 'main',
    method: 'GET',
    scheme: 'http',
    authority: 'example.org',
    path: '/',
    headers: { 'proxy-authorization': 'right' },
    signal: new AbortController().signal,
    body: () => Readable.from([]),
    respond: unexpected,
    refuse: unexpected,
    reset: unexpected,
    cancel: unexpected,
    ...changes,
  }
}

interface Stage {
  readonly clock: FakeClock
  /** Where requests went. */
  readonly seen: string[]
  readonly send: (changes: Partial<PlainExchange>) => void
}

function stage(): Stage {
  const clock = new FakeClock()
  const counters = new Counters()
  const seen: string[] = []
  const forwarder = { open: unexpected }
  const tunnel = new Dispatcher(
    {
      authFailureStatus: 407,
      realm: 'x',
      privacy: 'full',
      severalUsersPerSession: false,
      maxTunnelsPerUser: 10,
    },
    {
      clock,
      counters,
      log: pino({ level: 'silent' }),
      registry: new SessionRegistry({ idleTimeoutMs: 60_000 }, { clock, counters }),
      throttle: new AuthThrottle(
        { maxFailures: 2, refillMs: REFILL_MS },
        { clock, failures: openAddresses() },
      ),
      slots: new OpenLedger(),
      directory: {
        authenticate: (header) => (header === 'right' ? { user: USER, validUntil: Infinity } : undefined),
      },
      forwarders: { tcp: forwarder, udp: forwarder, icmp: forwarder, check: forwarder },
      site: {
        handle: () => void seen.push('site'),
        handleDecoyStatus: unexpected,
        mayForward: ({ method }) => method !== 'TRACE',
        forward: (_, target) => {
          seen.push(target.kind === 'name' ? `${target.host} ${target.port}` : target.kind)
          return Promise.resolve({ reason: 'ended', uplinkBytes: 0, downlinkBytes: 0 })
        },
      },
    },
  )
  const listener = tunnel.acceptSession(session)
  return { clock, seen, send: (changes) => listener.onExchange(requestOf(changes)) }
}

it.each<[string, Partial<PlainExchange>, string]>([
  ['scheme http with credentials', {}, 'example.org 80'],
  ['another method', { method: 'PATCH', authority: 'a.test:8080' }, 'a.test 8080'],
  ['scheme https', { scheme: 'https' }, 'site'],
  ['no scheme', { scheme: undefined }, 'site'],
  ['no credentials', { headers: {} }, 'site'],
  ['wrong credentials', { headers: { 'proxy-authorization': 'wrong' } }, 'site'],
  ['what the site keeps', { method: 'TRACE' }, 'site'],
  ['another channel', { channel: 'ping' }, 'site'],
])('a plain request goes where it belongs: %s', (_, changes, expected) => {
  const { seen, send } = stage()
  send(changes)
  expect(seen).toEqual([expected])
})

it('a plain request waits after some failures with wrong credentials, and no other does', () => {
  const { clock, seen, send } = stage()
  const wrong = { headers: { 'proxy-authorization': 'wrong' } }
  for (let failures = 0; failures < 3; failures++) send(wrong)
  expect(seen).toEqual(['site', 'site'])
  send({ headers: {} })
  send({})
  expect(seen).toEqual(['site', 'site', 'site', 'example.org 80'])
  clock.advance(REFILL_MS)
  expect(seen).toHaveLength(5)
})
