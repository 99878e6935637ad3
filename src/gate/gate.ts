/**
 * The gate: what happens to a TCP connection before TLS (`docs/protocol.md`, "Which host a connection is for"). Limits,
 * the PROXY header of a trusted balancer, the ClientHello, inbound rules, the host that its server name selects; then
 * the socket goes on with every byte still in it. All of this happens before anything is answered, so that strangers
 * learn nothing; what they get afterwards is up to the decoy.
 */
import type { Socket } from 'node:net'
import type { Clock, Timer } from '../clock.ts'
import type { Counters, TotalLabel } from '../counters.ts'
import type { Log } from '../log.ts'
import type { GatedConnection } from '../contract/gated-connection.ts'
import type { Channel } from '../contract/session.ts'
import type { ClientHello } from '../wire/client-hello.ts'
import { ipBytes } from '../wire/ip-address.ts'
import { normalizePeerAddress } from '../wire/ip-kind.ts'
import { prefixHolds } from '../wire/ip-prefix.ts'
import type { IpPrefix } from '../wire/ip-prefix.ts'
import type { PassTarget } from '../wire/target.ts'
import { ConnectionLimits, isLimitReason } from './connection-limits.ts'
import type {
  AddressRecord,
  Admission,
  ConnectionLimitsOptions,
  EndpointPlaces,
} from './connection-limits.ts'
import { readClientHello, readProxyHeader } from './hello-reader.ts'
import type { HelloOutcome, ProxyHeaderOutcome } from './hello-reader.ts'
import type { HostMap, Route } from './host-map.ts'
import type { InboundRules, Verdict } from './inbound-rules.ts'
import { LimitWarnings } from './limit-warnings.ts'
import { passThrough } from './passthrough.ts'
import type { Splice } from './passthrough.ts'

/**
 * What becomes of a connection that is not for one of our hosts: answered as a web server would, closed, or passed on.
 */
type StrangerTreatment = 'decoy' | 'drop' | 'pass'

export interface GateOptions {
  /** Time for the PROXY header and the ClientHello together, and again for connecting to a server behind us. */
  readonly helloTimeoutMs: number
  /** For connections whose server name is unknown or missing. `pass` without a server to pass to means `decoy`. */
  readonly unknownSni: StrangerTreatment
  /** For connections that an inbound rule denies. */
  readonly denied: StrangerTreatment
  /** Load balancers. Their connections must begin with a PROXY header; nobody else's may. */
  readonly proxyProtocolFrom: readonly IpPrefix[]
  readonly limits: ConnectionLimitsOptions
}

/** A peer whose first bytes are not TLS; everything it sent is still in the socket. */
export interface PlainConnection {
  readonly socket: Socket
  readonly remoteAddress: string
  readonly remotePort: number
}

interface GateDependencies {
  readonly clock: Clock
  readonly counters: Counters
  readonly log: Log
  /** Takes over the socket, and with it the time limit on the handshake. */
  onConnection(connection: GatedConnection): void
  /** Takes over the socket. */
  onNotTls(connection: PlainConnection): void
  readonly splice: Splice
  readonly addresses: AddressRecord
  readonly places: EndpointPlaces
  /** Whether a connection may keep the descriptor it was given. */
  readonly mayAccept: () => boolean
}

type DropReason = TotalLabel<'gate_dropped'>

const KEEP_ALIVE_DELAY_MS = 60_000
/** Limits warnings, because others decide how often there is a reason for one. */
const WARNING_PERIOD_MS = 60_000

export class Gate {
  readonly #options: GateOptions
  readonly #deps: GateDependencies
  readonly #limits: ConnectionLimits
  readonly #limitWarnings: LimitWarnings
  /** Sockets whose hello is not complete: only the gate knows them. */
  readonly #own = new Set<Socket>()
  /** Passed on to another server: nobody else would end them. */
  readonly #passed = new Set<Socket>()
  #rules: InboundRules
  #hosts: HostMap
  #tcpConnections = 0
  #closed = false
  #closing: Promise<void> | undefined
  /** Resolves once the gate is closed and nothing that was passed on is left. */
  readonly #passedGone = Promise.withResolvers<void>()
  #nextPassWarningMs = -Infinity
  #nextAcceptWarningMs = -Infinity

  constructor(options: GateOptions, rules: InboundRules, hosts: HostMap, deps: GateDependencies) {
    this.#options = options
    this.#deps = deps
    this.#limits = new ConnectionLimits(options.limits, deps)
    this.#limitWarnings = new LimitWarnings(deps.clock, deps.log)
    this.#rules = rules
    this.#hosts = hosts
    deps.counters.gauge('gate_connections', () => this.#limits.connections)
    deps.counters.gauge('gate_tcp_connections', () => this.#tcpConnections)
    deps.counters.gauge('gate_handshakes', () => this.#limits.handshakes)
  }

  /** Applies to new connections and to those whose hello is not complete yet. */
  update({ rules, hosts }: { rules: InboundRules; hosts: HostMap }): void {
    this.#rules = rules
    this.#hosts = hosts
  }

  /** The channel of a host name, for use where no ClientHello can be read; an unknown name gets the decoy. */
  channelOf(hostname: string): Channel {
    const route = this.#hosts.find(hostname)
    return route?.kind === 'host' ? route.channel : 'decoy'
  }

  /** Whether `name` is one of our hosts, by a wildcard too. */
  isOwnName(name: string): boolean {
    return this.#hosts.find(name)?.kind === 'host'
  }

  /**
   * A place for a QUIC connection from `address`, under the same limits and rules as TCP; undefined when it is refused.
   */
  admitQuic(address: string): Pick<Admission, 'handshakeDone' | 'release'> | undefined {
    const admission = this.#limits.admit()
    if (typeof admission === 'string') return this.#refuse(admission)
    const verdict = this.#rules.evaluate({ address })
    const reason = this.#isDenied(verdict) ? 'denied' : admission.identify(address)
    if (reason === undefined) return admission
    admission.release()
    return this.#refuse(reason)
  }

  #refuse(reason: DropReason): undefined {
    this.#deps.counters.count('gate_dropped', reason)
    if (isLimitReason(reason)) this.#limitWarnings.note(reason)
  }

  /** The system had a connection for us but could not hand it over: there is no descriptor or no memory left for it. */
  acceptFailed(error: NodeJS.ErrnoException): void {
    const { clock, counters, log } = this.#deps
    counters.count('gate_dropped', 'accept_failed')
    if (clock.now() < this.#nextAcceptWarningMs) return
    this.#nextAcceptWarningMs = clock.now() + WARNING_PERIOD_MS
    log.warn({ code: error.code }, 'a connection could not be accepted')
  }

  /** Takes a socket straight from `net.Server`. */
  accept(socket: Socket): void {
    // For the rest of the socket's life, whoever has it: an unhandled error would end the process.
    socket.on('error', ignoreError)
    if (this.#closed) return this.#drop(socket, 'closing')
    if (!this.#deps.mayAccept()) return this.#drop(socket, 'no_descriptor')
    const peer = normalizePeerAddress(socket.remoteAddress ?? '')
    // It was reset between the kernel's accept and ours.
    if (peer === undefined) return this.#drop(socket, 'ended_early')
    const admission = this.#limits.admit()
    if (typeof admission === 'string') return this.#drop(socket, admission)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_DELAY_MS)
    this.#own.add(socket)
    const arrival = new Arrival(socket, admission, peer.address, socket.remotePort ?? 0)
    this.#tcpConnections += 1
    socket.once('close', () => this.#onClose(arrival))
    arrival.deadline = this.#deps.clock.after(this.#options.helloTimeoutMs, () =>
      this.#end(arrival, 'hello_timeout'),
    )
    if (this.#isBalancer(peer.address)) {
      arrival.stop = readProxyHeader(socket, (outcome) => this.#onProxyHeader(arrival, outcome))
    } else {
      this.#readHello(arrival)
    }
  }

  /**
   * Refuses new connections and ends those whose hello is not complete. Those that were passed on may continue for up
   * to `graceMs`; resolves when none is left. Sockets handed to a transport are that transport's. Idempotent.
   */
  close({ graceMs }: { graceMs: number }): Promise<void> {
    this.#closing ??= this.#close(graceMs)
    return this.#closing
  }

  async #close(graceMs: number): Promise<void> {
    this.#closed = true
    for (const socket of this.#own) socket.destroy()
    if (this.#passed.size === 0) return
    const deadline = this.#deps.clock.after(graceMs, () => this.destroy())
    await this.#passedGone.promise
    deadline.cancel()
  }

  /** Ends everything the gate still has at once, passed on or not. Idempotent. */
  destroy(): void {
    this.#closed = true
    for (const socket of [...this.#own, ...this.#passed]) socket.destroy()
  }

  /** Runs however a socket ends, and whoever has it by then. */
  #onClose(arrival: Arrival): void {
    this.#tcpConnections -= 1
    this.#own.delete(arrival.socket)
    this.#passed.delete(arrival.socket)
    if (this.#closed && this.#passed.size === 0) this.#passedGone.resolve()
    arrival.admission.release()
    if (arrival.settle()) this.#deps.counters.count('gate_dropped', this.#closed ? 'closing' : 'ended_early')
  }

  #isBalancer(address: string): boolean {
    const { proxyProtocolFrom } = this.#options
    if (proxyProtocolFrom.length === 0) return false
    const bytes = ipBytes(address)
    return bytes !== undefined && proxyProtocolFrom.some((prefix) => prefixHolds(prefix, bytes))
  }

  #onProxyHeader(arrival: Arrival, outcome: ProxyHeaderOutcome): void {
    if (outcome.kind === 'ended') return this.#end(arrival, 'ended_early')
    if (outcome.kind === 'fault') return this.#end(arrival, 'proxy_header')
    if (outcome.source !== undefined) {
      const { address, port } = outcome.source
      arrival.remoteAddress = normalizePeerAddress(address)?.address ?? address
      arrival.remotePort = port
    }
    this.#readHello(arrival)
  }

  #readHello(arrival: Arrival): void {
    const refused = arrival.admission.identify(arrival.remoteAddress)
    if (refused !== undefined) return this.#end(arrival, refused)
    arrival.stop = readClientHello(arrival.socket, (outcome) => this.#onHello(arrival, outcome))
  }

  #onHello(arrival: Arrival, outcome: HelloOutcome): void {
    if (outcome.kind === 'ended') return this.#end(arrival, 'ended_early')
    if (outcome.kind === 'fault' && outcome.what === 'not_tls') return this.#onNotTls(arrival)
    // A broken hello still goes to the TLS stack, which answers with the alert that a web server would send.
    const hello = outcome.kind === 'hello' ? outcome.hello : undefined
    const verdict = this.#rules.evaluate({
      address: arrival.remoteAddress,
      random: hello?.random,
      serverName: hello?.serverName,
    })
    if (this.#isDenied(verdict)) return this.#treat(arrival, hello, this.#options.denied, 'denied')
    const route = this.#hosts.find(hello?.serverName)
    if (route === undefined) return this.#treat(arrival, hello, this.#options.unknownSni, 'unknown_name')
    this.#follow(arrival, hello, route)
  }

  /** Counts which rule denied the connection, if one did. */
  #isDenied({ action, by }: Verdict): boolean {
    if (action === 'allow') return false
    this.#deps.counters.count('gate_denied', typeof by === 'number' ? `${by}` : by)
    return true
  }

  #treat(
    arrival: Arrival,
    hello: ClientHello | undefined,
    treatment: StrangerTreatment,
    reason: 'denied' | 'unknown_name',
  ): void {
    if (treatment === 'drop') return this.#end(arrival, reason)
    this.#deps.counters.count('gate_strangers', reason)
    const passed = treatment === 'pass' ? this.#hosts.passAll : undefined
    const route = passed ?? this.#hosts.decoy
    if (route === undefined) return this.#end(arrival, reason)
    this.#follow(arrival, hello, route)
  }

  #follow(arrival: Arrival, hello: ClientHello | undefined, route: Route): void {
    arrival.settle()
    if (route.kind === 'pass') return this.#pass(arrival, route)
    const { socket, remoteAddress, remotePort, admission } = arrival
    this.#own.delete(socket)
    this.#deps.counters.count('gate_accepted', route.channel)
    this.#deps.onConnection({
      socket,
      remoteAddress,
      remotePort,
      serverName: hello?.serverName?.toLowerCase(),
      alpn: hello?.alpn ?? [],
      channel: route.channel,
      host: route.host,
      handshakeDone: () => admission.handshakeDone(),
    })
  }

  #pass({ socket, admission }: Arrival, route: Extract<Route, { kind: 'pass' }>): void {
    this.#own.delete(socket)
    this.#passed.add(socket)
    passThrough(socket, {
      to: route.to,
      connectTimeoutMs: this.#options.helloTimeoutMs,
      clock: this.#deps.clock,
      splice: this.#deps.splice,
      onSpliced: () => {
        admission.handshakeDone()
        this.#deps.counters.count('gate_accepted', 'pass')
      },
      onFailed: (code) => {
        this.#deps.counters.count('gate_dropped', 'pass_failed')
        this.#warnOfPassFailure(code, route.to)
      },
    })
  }

  /** Rate limited, because strangers decide how often this happens. */
  #warnOfPassFailure(code: string, to: PassTarget): void {
    const now = this.#deps.clock.now()
    if (now < this.#nextPassWarningMs) return
    this.#nextPassWarningMs = now + WARNING_PERIOD_MS
    this.#deps.log.warn({ code, to }, 'a server behind the gate cannot be reached')
  }

  #onNotTls(arrival: Arrival): void {
    arrival.settle()
    arrival.admission.handshakeDone()
    this.#own.delete(arrival.socket)
    this.#deps.counters.count('gate_strangers', 'not_tls')
    const { socket, remoteAddress, remotePort } = arrival
    this.#deps.onNotTls({ socket, remoteAddress, remotePort })
  }

  /** The one way out for a connection that is not wanted. Its `close` event frees what it held. */
  #end(arrival: Arrival, reason: DropReason): void {
    arrival.settle()
    this.#drop(arrival.socket, reason)
  }

  #drop(socket: Socket, reason: DropReason): void {
    this.#refuse(reason)
    socket.destroy()
  }
}

/** A connection from its accept until it is decided what becomes of it. */
class Arrival {
  readonly socket: Socket
  readonly admission: Admission
  remoteAddress: string
  remotePort: number
  deadline: Timer | undefined
  /** Stops the reading that is under way. */
  stop: (() => void) | undefined

  constructor(socket: Socket, admission: Admission, remoteAddress: string, remotePort: number) {
    this.socket = socket
    this.admission = admission
    this.remoteAddress = remoteAddress
    this.remotePort = remotePort
  }

  /** Ends reading and timing. Returns whether there was anything to end. */
  settle(): boolean {
    const wasPending = this.deadline !== undefined
    this.deadline?.cancel()
    this.stop?.()
    this.deadline = undefined
    this.stop = undefined
    return wasPending
  }
}

function ignoreError(): void {}
