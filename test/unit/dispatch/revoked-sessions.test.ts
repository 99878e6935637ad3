/** A change reaches every session, whatever one of them does; and a session that ends while it is added is not kept. */
import { pino } from 'pino'
import { expect, it } from 'vitest'
import { Counters } from '../../../src/counters.ts'
import type { ConnectExchange } from '../../../src/contract/exchange.ts'
import type { Session } from '../../../src/contract/session.ts'
import { AuthThrottle } from '../../../src/dispatch/auth-throttle.ts'
import { Dispatcher } from '../../../src/dispatch/dispatcher.ts'
import { SessionRegistry } from '../../../src/dispatch/session-registry.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { openAddresses, OpenLedger } from '../../support/lane-share.ts'

function unexpected(): never {
  throw new Error('not expected here')
}

function sessionOf(id: string, ends: Pick<Session, 'close' | 'destroy'>): Session {
  return {
    id,
    protocol: 'HTTP2',
    remoteAddress: '192.0.2.1',
    remotePort: 1,
    serverName: 'vpn.endpoint',
    state: 'open',
    openStreams: 0,
    trust: () => {},
    ...ends,
  }
}

function connectOn(session: Session): ConnectExchange {
  return {
    kind: 'connect',
    session,
    channel: 'main',
    method: 'CONNECT',
    authority: '_check',
    headers: { 'proxy-authorization': 'right' },
    signal: AbortSignal.abort(),
    keepFields: () => {},
    accept: unexpected,
    respond: unexpected,
    refuse: unexpected,
    reset: () => {},
    cancel: () => {},
  }
}

it('a session that cannot be destroyed does not keep the others of a removed user open', () => {
  const clock = new FakeClock()
  const counters = new Counters()
  const registry = new SessionRegistry({ idleTimeoutMs: 60_000 }, { clock, counters })
  const user = { name: 'alice', maxTcpSessions: null, maxQuicSessions: null }
  const forwarder = { open: () => new Promise<never>(() => {}) }
  const dispatcher = new Dispatcher(
    {
      severalUsersPerSession: false,
      authFailureStatus: 407,
      realm: 'test',
      privacy: 'full',
      maxTunnelsPerUser: 10,
    },
    {
      clock,
      counters,
      log: pino({ level: 'silent' }),
      registry,
      throttle: new AuthThrottle({ maxFailures: 0, refillMs: 1000 }, { clock, failures: openAddresses() }),
      slots: new OpenLedger(),
      directory: { authenticate: () => ({ user, validUntil: Infinity }) },
      forwarders: { tcp: forwarder, udp: forwarder, icmp: forwarder, check: forwarder },
      site: {
        handle: unexpected,
        handleDecoyStatus: unexpected,
        mayForward: unexpected,
        forward: unexpected,
      },
    },
  )
  const destroyed: string[] = []
  for (const id of ['first', 'broken', 'last']) {
    const session = sessionOf(id, {
      close: () => Promise.resolve(),
      destroy: () => {
        if (id === 'broken') throw new Error('a fault of its own')
        destroyed.push(id)
      },
    })
    dispatcher.acceptSession(session).onExchange(connectOn(session))
  }
  dispatcher.replaceDirectory({ authenticate: () => undefined })
  expect(destroyed).toEqual(['first', 'last'])
})

it('a session that ends at once because the lane is draining is not kept', async () => {
  const registry = new SessionRegistry(
    { idleTimeoutMs: 60_000 },
    { clock: new FakeClock(), counters: new Counters() },
  )
  await registry.close({ graceMs: 0 })
  const session = sessionOf('late', {
    close: async () => registry.remove(session),
    destroy: () => {},
  })
  registry.add(session)
  expect([...registry.sessions()]).toEqual([])
})
