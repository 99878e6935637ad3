/**
 * Plain requests for `http:` addresses elsewhere (`docs/protocol.md`): opens a connection to the server that the client
 * names, sends the request over it as HTTP/1.1, and returns the response as it is. The caller has authenticated the
 * client.
 */
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../../clock.ts'
import { EndpointError } from '../../errors.ts'
import { faultFields } from '../../log.ts'
import type { Log, Privacy } from '../../log.ts'
import type { ForwardEnd, TunnelEndReason } from '../../contract/forwarder.ts'
import type { PlainExchange, ResponseHeaders } from '../../contract/exchange.ts'
import type { Target } from '../../wire/target.ts'
import { forwardedResponseHeaders } from './headers.ts'
import { nodeHttp } from './node-http.ts'
import type {
  ExchangeLimits,
  ExchangeOutcome,
  OriginSource,
  OutgoingHead,
  RequestOwner,
} from './origin-request.ts'
import { createOriginRequest } from './request-mode.ts'
import type { IdleMonitor } from '../../relay/idle-monitor.ts'

/** Connects to targets under the same address policy, outbound rules, time limit and error codes as tunnels. */
export interface ForwardDialer {
  /** Rejects with an `EndpointError` whose code is a `RefusalCode`. The socket has an error listener. */
  dial(target: Target, options: { signal: AbortSignal }): Promise<{ readonly io: Socket }>
}

interface ForwardProxyOptions {
  /** How long nothing may move in either direction, before the response and during it. */
  idleTimeoutMs: number
  privacy: Privacy
}

interface ForwardProxyDependencies {
  clock: Clock
  log: Log
  dialer: ForwardDialer
  idleMonitor: IdleMonitor
}

/** Origins send more than Node's 16 KiB, mostly cookies and policies; browsers accept 256 KiB. */
const MAX_RESPONSE_HEAD_BYTES = 65_536
/** How long an origin may take to read the rest of a request that it has answered. */
const LINGER_MS = 30_000

export class ForwardProxy {
  readonly #deps: ForwardProxyDependencies
  readonly #limits: ExchangeLimits
  readonly #privacy: Privacy

  constructor({ idleTimeoutMs, privacy }: ForwardProxyOptions, deps: ForwardProxyDependencies) {
    this.#deps = deps
    this.#privacy = privacy
    // The dialer's sockets are already connected.
    this.#limits = { connectTimeoutMs: idleTimeoutMs, responseTimeoutMs: idleTimeoutMs, idleTimeoutMs }
  }

  /** Resolves when the exchange is over. Never rejects; with `failure`, the request still waits for an answer. */
  async forward(exchange: PlainExchange, target: Target): Promise<ForwardEnd> {
    try {
      if (!isForwardablePath(exchange)) throw new EndpointError('target_refused', 'bad path')
      const { io } = await this.#deps.dialer.dial(target, { signal: exchange.signal })
      return await new ForwardExchange(exchange, io, this.#limits, this.#privacy, this.#deps).run()
    } catch (failure) {
      return { reason: 'aborted', uplinkBytes: 0, downlinkBytes: 0, failure }
    }
  }
}

/** Any other path would make a request line that means something else to the next server. */
function isForwardablePath({ method, path }: PlainExchange): boolean {
  return path.startsWith('/') || (path === '*' && method === 'OPTIONS')
}

class ForwardExchange implements RequestOwner, OriginSource {
  readonly source = this
  readonly limits: ExchangeLimits
  readonly clock: Clock
  readonly idleMonitor: IdleMonitor
  readonly #exchange: PlainExchange
  readonly #socket: Socket
  readonly #log: Log
  readonly #privacy: Privacy

  constructor(
    exchange: PlainExchange,
    socket: Socket,
    limits: ExchangeLimits,
    privacy: Privacy,
    { clock, log, idleMonitor }: ForwardProxyDependencies,
  ) {
    this.#exchange = exchange
    this.#socket = socket
    this.#log = log
    this.#privacy = privacy
    this.limits = limits
    this.clock = clock
    this.idleMonitor = idleMonitor
  }

  async run(): Promise<ForwardEnd> {
    const request = createOriginRequest(this.#exchange, this)
    const leaving = this.#exchange.leaving?.()
    const giveUp = (): void => request.destroy()
    if (leaving?.aborted) giveUp()
    leaving?.addEventListener('abort', giveUp)
    const outcome = await request.run()
    leaving?.removeEventListener('abort', giveUp)
    this.#letGo(outcome.kind === 'complete')
    return this.#endOf(outcome)
  }

  /** {@link OriginSource} */
  open(head: OutgoingHead): ClientRequest {
    const socket = this.#socket
    if (socket.destroyed) throw new EndpointError('target_refused', 'the target has closed')
    return nodeHttp('http:').request({
      ...head,
      createConnection: () => socket,
      setHost: false,
      maxHeaderSize: MAX_RESPONSE_HEAD_BYTES,
    })
  }

  /** {@link RequestOwner} */
  hostFor({ authority }: PlainExchange): string {
    return authority
  }

  /** {@link RequestOwner}: the origin's own fields, including `server` and `date`. */
  responseHeaders(response: IncomingMessage): ResponseHeaders | undefined {
    // A client would take it for ours, and give up or ask its user for a password.
    if (response.statusCode === 407) return undefined
    const headers = forwardedResponseHeaders(response.headers, {})
    return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith('proxy-')))
  }

  #endOf(outcome: ExchangeOutcome): ForwardEnd {
    const { uplinkBytes, downlinkBytes } = outcome
    const end = (reason: TunnelEndReason): ForwardEnd => ({ reason, uplinkBytes, downlinkBytes })
    if (outcome.kind === 'complete') return end('ended')
    if (outcome.kind === 'left') return end('client_reset')
    const { failure, status, error } = outcome
    if (failure === 'internal') return this.#endOfFault(end('aborted'), error, status === undefined)
    const reason = failure === 'timeout' ? 'idle' : 'target_reset'
    if (status === undefined) {
      this.#tellCut(error)
      return end(reason)
    }
    // The answer is the same as for a tunnel, from the error table.
    const code = failure === 'timeout' ? 'target_timeout' : 'target_refused'
    return { ...end(reason), failure: new EndpointError(code, `the request was not answered: ${failure}`) }
  }

  /** The dispatcher logs a fault that it has to answer for. */
  #endOfFault(end: ForwardEnd, error: Error | undefined, answered: boolean): ForwardEnd {
    if (!answered) return { ...end, failure: error }
    const { id, protocol } = this.#exchange.session
    const fields = { session: id, protocol, ...faultFields(this.#privacy, error) }
    this.#log.error(fields, 'a forwarded response failed in a way that should not happen')
    return end
  }

  #tellCut(error: NodeJS.ErrnoException | undefined): void {
    const { session } = this.#exchange
    const fields = {
      session: session.id,
      protocol: session.protocol,
      cause: error?.code,
      reason: error?.message,
    }
    this.#log.info(fields, 'a forwarded response was cut')
  }

  /** Node ends the connection after a complete exchange; an origin that has stopped reading would keep it open. */
  #letGo(complete: boolean): void {
    const socket = this.#socket
    if (!complete) socket.destroy()
    if (socket.closed) return
    const timer = this.clock.after(LINGER_MS, () => socket.destroy())
    socket.once('close', () => timer.cancel())
  }
}
