/** A tunnel as one object: whatever is reported of it, and however often, its place is given back once. */
import { pino } from 'pino'
import { expect, it } from 'vitest'
import { Counters } from '../../../src/counters.ts'
import { EndpointError } from '../../../src/errors.ts'
import type { CancellationListener } from '../../../src/contract/cancellation.ts'
import type { ConnectExchange } from '../../../src/contract/exchange.ts'
import type { TunnelContext } from '../../../src/contract/forwarder.ts'
import type { Session } from '../../../src/contract/session.ts'
import { Answers } from '../../../src/dispatch/answers.ts'
import { DispatchLog } from '../../../src/dispatch/dispatch-log.ts'
import { Guest, SessionRecord } from '../../../src/dispatch/session-record.ts'
import { Tunnel } from '../../../src/dispatch/tunnel.ts'
import { UserLimits } from '../../../src/dispatch/user-limits.ts'

const END = { reason: 'ended', uplinkBytes: 1, downlinkBytes: 2 } as const

class Stage {
  readonly events: unknown[] = []
  readonly record = new SessionRecord(0, false)
  readonly guest = new Guest({ name: 'alice', maxTcpSessions: null, maxQuicSessions: null })
  readonly cancellation = {
    aborted: false,
    addEventListener: (_type: 'abort', _listener: CancellationListener): void => {},
    removeEventListener: (): void => {},
  }
  context!: TunnelContext
  readonly #slot = {
    take: (what: string) => this.events.push(`take ${what}`) > 0,
    give: (what: string) => void this.events.push(`give ${what}`),
    addBytes: (...bytes: number[]) => void this.events.push(bytes),
  }

  open(accept: () => never = () => undefined as never): void {
    const counters = new Counters()
    const log = pino({ level: 'silent' })
    const forwarder = { open: (_target: unknown, context: TunnelContext) => void (this.context = context) }
    const exchange: ConnectExchange = {
      session: { id: '1', protocol: 'HTTP2', remoteAddress: '192.0.2.1' } as unknown as Session,
      channel: 'main',
      kind: 'connect',
      method: 'CONNECT',
      authority: '198.51.100.7:443',
      headers: {},
      cancellation: this.cancellation,
      get signal(): never {
        throw new Error('nobody needs one')
      },
      keepFields: () => {},
      accept,
      refuse: (status) => void this.events.push(status),
      respond: () => undefined as never,
      reset: () => void this.events.push('reset'),
      cancel: () => void this.events.push('cancel'),
    }
    new Tunnel(this.guest, exchange, this.record, {
      forwarders: { tcp: forwarder, udp: forwarder, icmp: forwarder, check: forwarder },
      limits: new UserLimits({ maxTunnelsPerUser: 2 }, { counters, slots: { of: () => this.#slot } }),
      answers: new Answers(counters, new DispatchLog(log, 'full')),
      counters,
      log,
      privacy: 'full',
      account: (_exchange, record, end, place) => {
        place?.countBytes(end.uplinkBytes, end.downlinkBytes)
        record.onTunnelEnd(end)
      },
    }).open()
    this.events.length = 0
  }
}

function opened(): Stage {
  const stage = new Stage()
  stage.open()
  stage.context.onOpen({ run: () => void stage.events.push('run'), destroy: () => {} })
  return stage
}

it('the end is counted and gives the place back, and nothing comes after it', () => {
  const stage = opened()
  stage.context.onEnd(END)
  stage.context.onEnd(END)
  stage.context.onRefused(new EndpointError('target_refused', 'too late'))
  expect(stage.events).toEqual(['run', [1, 2], 'give tunnels'])
})

it('a refusal is answered once', () => {
  const stage = new Stage()
  stage.open()
  const error = new EndpointError('target_refused', 'closed')
  stage.context.onRefused(error)
  stage.context.onRefused(error)
  expect(stage.events).toEqual([502, 'give tunnels'])
})

it('a fault of what runs resets the stream and gives the place back', () => {
  const stage = opened()
  stage.context.onFault(new TypeError('broken'))
  stage.context.onEnd(END)
  expect(stage.events).toEqual(['run', 'give tunnels', 'reset'])
})

it('a session whose tunnel had a fault is told that nothing of it runs any more', () => {
  const stage = opened()
  stage.record.close(() => void stage.events.push('settled'))
  stage.context.onFault(new TypeError('broken'))
  stage.context.onFault(new TypeError('broken again'))
  expect(stage.events).toEqual(['run', 'give tunnels', 'reset', 'settled', 'reset'])
})

it('a target that is ready when the client has left is dropped', () => {
  const stage = new Stage()
  stage.open()
  stage.cancellation.aborted = true
  stage.context.onOpen({
    run: () => void stage.events.push('run'),
    destroy: () => void stage.events.push('destroy'),
  })
  expect(stage.events).toEqual(['destroy', 'give tunnels'])
})

it('a client that has left is not answered', () => {
  const stage = new Stage()
  stage.open()
  stage.cancellation.aborted = true
  stage.context.onRefused(new EndpointError('target_refused', 'given up'))
  expect(stage.events).toEqual(['give tunnels'])
})

it('a 200 that cannot be sent costs the exchange alone, and drops the target', () => {
  const stage = new Stage()
  stage.open(() => {
    throw new TypeError('broken')
  })
  stage.context.onOpen({
    run: () => void stage.events.push('run'),
    destroy: () => void stage.events.push('destroy'),
  })
  expect(stage.events).toEqual(['destroy', 'give tunnels', 'reset'])
})

it('a tunnel belongs to its user until it is over', () => {
  const stage = opened()
  stage.guest.cutOff()
  stage.context.onEnd(END)
  stage.guest.cutOff()
  expect(stage.events).toEqual(['run', 'cancel', [1, 2], 'give tunnels'])
})
