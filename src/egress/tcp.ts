/**
 * TCP connections to targets: resolve the name, check every address against the policy, then try them as RFC 8305
 * section 5 says, all within one time limit.
 *
 * When no address may be dialled, the code is `target_denied` if a rule forbids an address that the policy allows, else
 * `target_private`, else `target_loopback`, else `target_unreachable` if there are only IPv6 addresses and IPv6 is not
 * available. When several attempts fail, the code is that of the attempt that got furthest: refused, then timed out,
 * then unreachable; but `limit_exceeded` when not all were tried for want of a descriptor.
 */
import net from 'node:net'
import type { OnReadOpts, Socket } from 'node:net'
import type { Clock, Timer } from '../clock.ts'
import type { TcpEnd } from '../contract/stream-end.ts'
import type { Counters } from '../counters.ts'
import { EndpointError, type RefusalCode } from '../errors.ts'
import type { IpAddress } from '../wire/ip-address.ts'
import { normalizePeerAddress } from '../wire/ip-kind.ts'
import type { Target } from '../wire/target.ts'

/** RFC 8305 section 8: Connection Attempt Delay. */
const ATTEMPT_DELAY_MS = 250
/** A name with more addresses than this is not worth the sockets. */
const MAX_ADDRESSES = 16
/** Finds targets that vanished silently; the kernel starts probing after this time. */
const KEEP_ALIVE_AFTER_MS = 60_000

/** The part of `EgressPolicy` that dialling needs. */
export interface DialPolicy {
  refusal(address: string, port: number): RefusalCode | undefined
  nameRefusal(port: number): RefusalCode | undefined
}

/** The part of `Resolver` that dialling needs. */
export interface DialResolver {
  resolve(host: string, options: { signal: AbortSignal }): Promise<IpAddress[]>
}

/** The part of `ReadPool` that dialling needs: what sockets are read into, and who takes that back. */
interface ReadMemory {
  readInto(socket: () => Socket): OnReadOpts
  endOf(socket: Socket): TcpEnd
}

interface TcpEgressOptions {
  readonly policy: DialPolicy
  readonly resolver: DialResolver
  /** Covers name resolution and every attempt. */
  readonly connectTimeoutMs: number
  readonly clock: Clock
  /** Gets the gauge `outbound_tcp_sockets`, attempts included. */
  readonly counters: Counters
  /** Whether there is a descriptor for one more connection. */
  readonly mayDial: () => boolean
  readonly memory: ReadMemory
}

const CODE_BY_ERRNO: Readonly<Record<string, RefusalCode>> = {
  ENETUNREACH: 'target_unreachable',
  EHOSTUNREACH: 'target_unreachable',
  ENETDOWN: 'target_unreachable',
  EHOSTDOWN: 'target_unreachable',
  EADDRNOTAVAIL: 'target_unreachable',
  EAFNOSUPPORT: 'target_unreachable',
  ETIMEDOUT: 'target_timeout',
}
const FURTHEST_FIRST: readonly RefusalCode[] = [
  // Not every address was tried.
  'limit_exceeded',
  'target_refused',
  'target_timeout',
  'target_unreachable',
]

function errnoOf(error: Error): string {
  return 'code' in error ? String(error.code) : ''
}

function noDescriptor(): EndpointError {
  return new EndpointError('limit_exceeded', 'no descriptor is left for a connection')
}

function ignoreError(): void {
  // 'close' follows, and the owner of the socket acts on that.
}

interface RaceCallbacks {
  /** Called with each socket as it is created. */
  readonly onOpen: (socket: Socket) => void
  /** Exactly one of these two follows, unless the race is ended first. */
  readonly onWinner: (socket: Socket) => void
  readonly onFailure: (error: EndpointError) => void
}

/** On its own, because the socket keeps for life what the function that it reads into can see: not the whole dial. */
function connectTo({ address }: IpAddress, port: number, memory: ReadMemory): Socket {
  const socket: Socket = net.connect({
    onread: memory.readInto(() => socket),
    host: address,
    port,
    allowHalfOpen: true,
    autoSelectFamily: false,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_AFTER_MS,
    noDelay: true,
  })
  return socket
}

/** The connection attempts of one call. */
class Race {
  readonly #addresses: readonly IpAddress[]
  readonly #port: number
  readonly #egress: TcpEgressOptions
  readonly #callbacks: RaceCallbacks
  readonly #pending = new Set<Socket>()
  readonly #failures: EndpointError[] = []
  #next = 0
  #stagger: Timer | undefined

  constructor(
    addresses: readonly IpAddress[],
    port: number,
    egress: TcpEgressOptions,
    callbacks: RaceCallbacks,
  ) {
    this.#addresses = addresses
    this.#port = port
    this.#egress = egress
    this.#callbacks = callbacks
  }

  /** Starts the next attempt, if an address is left. */
  attempt(): void {
    this.#stagger?.cancel()
    const address = this.#addresses[this.#next]
    if (address === undefined) return
    const { clock, memory, mayDial } = this.#egress
    // Asked here, because others may have taken the last ones while the name was resolved or an attempt waited.
    if (!mayDial()) return this.#onExhausted()
    this.#next += 1
    const socket = connectTo(address, this.#port, memory)
    this.#pending.add(socket)
    this.#callbacks.onOpen(socket)
    socket.on('error', ignoreError)
    const onError = (error: Error): void => this.#onFailure(socket, error)
    socket.once('error', onError)
    socket.once('connect', () => {
      socket.off('error', onError)
      this.#pending.delete(socket)
      this.end()
      this.#callbacks.onWinner(socket)
    })
    if (this.#next < this.#addresses.length) {
      this.#stagger = clock.after(ATTEMPT_DELAY_MS, () => this.attempt())
    }
  }

  /** Destroys every attempt under way. Nothing is reported any more. */
  end(): void {
    this.#stagger?.cancel()
    this.#next = this.#addresses.length
    const losers = [...this.#pending]
    this.#pending.clear()
    for (const socket of losers) socket.destroy()
  }

  /** Goes on with the attempts under way, if there are any. */
  #onExhausted(): void {
    this.#egress.counters.count('outbound_descriptors_exhausted')
    this.#next = this.#addresses.length
    this.#failures.push(noDescriptor())
    if (this.#pending.size === 0) this.#fail()
  }

  #onFailure(socket: Socket, error: Error): void {
    // Destroyed by `end`: the call is over.
    if (!this.#pending.delete(socket)) return
    const errno = errnoOf(error)
    if (errno === 'EMFILE' || errno === 'ENFILE')
      this.#egress.counters.count('outbound_descriptors_exhausted')
    const code = CODE_BY_ERRNO[errno] ?? 'target_refused'
    this.#failures.push(new EndpointError(code, 'the connection failed', { cause: error }))
    if (this.#next < this.#addresses.length) this.attempt()
    else if (this.#pending.size === 0) this.#fail()
  }

  #fail(): void {
    const furthest = FURTHEST_FIRST.map((each) => this.#failures.find((failure) => failure.code === each))
    const error = furthest.find((failure) => failure !== undefined)
    if (error !== undefined) this.#callbacks.onFailure(error)
  }
}

/**
 * One call: its time limit, its signal, and the step under way. A literal address takes one promise, and no signal,
 * because no resolver is asked.
 */
class Dial {
  readonly #target: Target
  readonly #egress: TcpEgressOptions
  readonly #signal: AbortSignal
  readonly #onOpen: (socket: Socket) => void
  readonly #done = Promise.withResolvers<Socket>()
  /** Ends the resolver's work; there is none for a literal address. */
  #resolving: AbortController | undefined
  #race: Race | undefined
  #timer: Timer | undefined
  #ended = false

  constructor(
    target: Target,
    egress: TcpEgressOptions,
    signal: AbortSignal,
    onOpen: (socket: Socket) => void,
  ) {
    this.#target = target
    this.#egress = egress
    this.#signal = signal
    this.#onOpen = onOpen
  }

  run(): Promise<Socket> {
    const { clock, connectTimeoutMs } = this.#egress
    this.#signal.addEventListener('abort', this.#onAbort)
    this.#timer = clock.after(connectTimeoutMs, () =>
      this.#fail(new EndpointError('target_timeout', `no connection after ${connectTimeoutMs} ms`)),
    )
    if (this.#signal.aborted) this.#onAbort()
    else this.#start(this.#target)
    return this.#done.promise
  }

  readonly #onAbort = (): void =>
    this.#fail(new EndpointError('target_refused', 'given up by the caller', { cause: this.#signal.reason }))

  #start(target: Target): void {
    const onThrown = (error: unknown): void => this.#fail(error)
    if (target.kind === 'name') return void this.#resolve(target).then(this.#connect).catch(onThrown)
    try {
      // A mapped address is dialled, and checked against the rules, as the IPv4 address it stands for.
      this.#connect([target.family === 4 ? target : unmappedPeer(target)])
    } catch (error) {
      onThrown(error)
    }
  }

  async #resolve({ host, port }: Extract<Target, { kind: 'name' }>): Promise<readonly IpAddress[]> {
    const { policy, resolver, mayDial, counters } = this.#egress
    // Asked before each attempt as well; but a query takes a descriptor too.
    if (!mayDial()) {
      counters.count('outbound_descriptors_exhausted')
      throw noDescriptor()
    }
    const forbidden = policy.nameRefusal(port)
    if (forbidden !== undefined) throw new EndpointError(forbidden, 'an outbound rule forbids the port')
    this.#resolving = new AbortController()
    const addresses = await resolver.resolve(host, { signal: this.#resolving.signal })
    return addresses.map(unmappedPeer)
  }

  readonly #connect = (candidates: readonly IpAddress[]): void => {
    if (this.#ended) return
    const allowed = this.#judge(candidates).slice(0, MAX_ADDRESSES)
    this.#race = new Race(allowed, this.#target.port, this.#egress, {
      onOpen: this.#onOpen,
      onWinner: (socket) => {
        this.#end()
        this.#done.resolve(socket)
      },
      onFailure: (error) => this.#fail(error),
    })
    this.#race.attempt()
  }

  /** The addresses that may be dialled; throws when there are none. */
  #judge(candidates: readonly IpAddress[]): IpAddress[] {
    const { policy } = this.#egress
    const { port } = this.#target
    const refusals = new Set<RefusalCode>()
    const allowed = candidates.filter(({ address }) => {
      const code = policy.refusal(address, port)
      if (code !== undefined) refusals.add(code)
      return code === undefined
    })
    if (allowed.length > 0) return allowed
    throw new EndpointError(onlyRefusal(refusals), 'no address of the target may be reached')
  }

  #fail(error: unknown): void {
    if (this.#ended) return
    this.#end()
    this.#resolving?.abort(error)
    this.#race?.end()
    this.#done.reject(error)
  }

  #end(): void {
    this.#ended = true
    this.#timer?.cancel()
    this.#signal.removeEventListener('abort', this.#onAbort)
  }
}

function unmappedPeer(address: IpAddress): IpAddress {
  return normalizePeerAddress(address.address) ?? address
}

function onlyRefusal(refusals: ReadonlySet<RefusalCode>): RefusalCode {
  if (refusals.has('target_denied')) return 'target_denied'
  if (refusals.has('target_private')) return 'target_private'
  if (refusals.has('target_loopback')) return 'target_loopback'
  return refusals.has('target_unreachable') ? 'target_unreachable' : 'target_refused'
}

export class TcpEgress {
  readonly #options: TcpEgressOptions
  #openSockets = 0

  constructor(options: TcpEgressOptions) {
    this.#options = options
    options.counters.gauge('outbound_tcp_sockets', () => this.#openSockets)
  }

  /**
   * A connection with half-close, keep-alive, no delay and an error listener; nothing has been read from it
   * beyond what it buffers itself. The caller owns it.
   * @throws EndpointError `target_refused`, `target_unreachable`, `target_timeout`, `target_private`,
   *   `target_loopback`, `target_denied`, or `limit_exceeded` when there is no descriptor for it.
   */
  async dial(target: Target, { signal }: { signal: AbortSignal }): Promise<TcpEnd> {
    const socket = await new Dial(target, this.#options, signal, this.#onOpen).run()
    return this.#options.memory.endOf(socket)
  }

  readonly #onOpen = (socket: Socket): void => {
    this.#openSockets += 1
    socket.once('close', () => (this.#openSockets -= 1))
  }
}
