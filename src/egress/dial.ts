/**
 * One call of `TcpEgress.dial`: its time limit, its signal, and the steps in between. An address, which is what most
 * clients ask for, takes this one object and its socket; a name is resolved, and its addresses race.
 */
import type { Socket } from 'node:net'
import type { Cancellation, CancellationListener } from '../contract/cancellation.ts'
import type { TcpEnd } from '../contract/stream-end.ts'
import { EndpointError, type RefusalCode } from '../errors.ts'
import type { IpAddress } from '../wire/ip-address.ts'
import { normalizePeerAddress } from '../wire/ip-kind.ts'
import { connectionFailure, giveUpConnection, type Connector } from './connection.ts'
import type { Limited } from './deadlines.ts'
import { noDescriptor, type DialEnvironment } from './dial-environment.ts'
import { Race, type RaceOwner } from './race.ts'

/** A name with more addresses than this is not worth the sockets. */
const MAX_ADDRESSES = 16

/** Hears of a dial, once. */
export interface DialOutcome {
  onDialled(end: TcpEnd): void
  onDialFailed(error: unknown): void
}

/** The address that a mapped one stands for: it is dialled, and checked against the rules, as that. */
function unmappedPeer(address: IpAddress): IpAddress {
  return normalizePeerAddress(address.address) ?? address
}

function forbidden(refusals: readonly RefusalCode[]): EndpointError {
  const codes = ['target_denied', 'target_private', 'target_loopback', 'target_unreachable'] as const
  const code = codes.find((each) => refusals.includes(each)) ?? 'target_refused'
  return new EndpointError(code, 'no address of the target may be reached')
}

abstract class Dial implements Limited, CancellationListener {
  protected readonly environment: DialEnvironment
  readonly #cancellation: Cancellation
  readonly #outcome: DialOutcome
  #ended = false

  constructor(environment: DialEnvironment, cancellation: Cancellation, outcome: DialOutcome) {
    this.environment = environment
    this.#cancellation = cancellation
    this.#outcome = outcome
  }

  start(): void {
    if (this.#cancellation.aborted) return this.handleEvent()
    this.begin()
    // Refused at once.
    if (this.#ended) return
    this.#cancellation.addEventListener('abort', this)
    this.environment.deadlines.add(this)
  }

  /** The caller has given up: a listener without a function of its own. */
  handleEvent(): void {
    this.fail(new EndpointError('target_refused', 'given up by the caller'))
  }

  onDeadline(): void {
    const { limitMs } = this.environment.deadlines
    this.fail(new EndpointError('target_timeout', `no connection after ${limitMs} ms`))
  }

  protected get ended(): boolean {
    return this.#ended
  }

  protected succeed(socket: Socket): void {
    this.#end()
    this.#outcome.onDialled(this.environment.endOf(socket))
  }

  protected fail(error: unknown): void {
    if (this.#ended) return
    this.#end()
    this.giveUp(error)
    this.#outcome.onDialFailed(error)
  }

  /** The first step; may fail at once. */
  protected abstract begin(): void
  /** Ends what is under way. */
  protected abstract giveUp(reason: unknown): void

  #end(): void {
    this.#ended = true
    this.environment.deadlines.delete(this)
    this.#cancellation.removeEventListener('abort', this)
  }
}

export class AddressDial extends Dial implements Connector {
  readonly #target: IpAddress
  readonly #port: number
  #socket: Socket | undefined

  constructor(
    target: IpAddress & { readonly port: number },
    environment: DialEnvironment,
    cancellation: Cancellation,
    outcome: DialOutcome,
  ) {
    super(environment, cancellation, outcome)
    this.#target = target.family === 4 ? target : unmappedPeer(target)
    this.#port = target.port
  }

  onConnected(socket: Socket): void {
    this.succeed(socket)
  }

  onFailed(_socket: Socket, error: Error): void {
    this.environment.onFailedConnection(error)
    this.fail(connectionFailure(error))
  }

  protected begin(): void {
    const { address } = this.#target
    const refusal = this.environment.policy.refusal(address, this.#port)
    if (refusal !== undefined) this.fail(forbidden([refusal]))
    else if (!this.environment.mayDial()) this.fail(noDescriptor(this.environment))
    else this.#socket = this.environment.open(address, this.#port, this)
  }

  protected giveUp(): void {
    if (this.#socket !== undefined) giveUpConnection(this.#socket)
  }
}

export class NameDial extends Dial implements RaceOwner {
  readonly #host: string
  readonly #port: number
  readonly #resolving = new AbortController()
  #race: Race | undefined

  constructor(
    target: { readonly host: string; readonly port: number },
    environment: DialEnvironment,
    cancellation: Cancellation,
    outcome: DialOutcome,
  ) {
    super(environment, cancellation, outcome)
    this.#host = target.host
    this.#port = target.port
  }

  onWinner(socket: Socket): void {
    this.succeed(socket)
  }

  onAllFailed(error: EndpointError): void {
    this.fail(error)
  }

  protected begin(): void {
    void this.#run().catch((error: unknown) => this.fail(error))
  }

  protected giveUp(reason: unknown): void {
    this.#resolving.abort(reason)
    this.#race?.end()
  }

  async #run(): Promise<void> {
    const { policy, resolver, mayDial } = this.environment
    // Asked before each attempt as well; but a query takes a descriptor too.
    if (!mayDial()) throw noDescriptor(this.environment)
    const refusal = policy.nameRefusal(this.#port)
    if (refusal !== undefined) throw new EndpointError(refusal, 'an outbound rule forbids the port')
    const addresses = await resolver.resolve(this.#host, { signal: this.#resolving.signal })
    if (this.ended) return
    const allowed = this.#judge(addresses.map(unmappedPeer)).slice(0, MAX_ADDRESSES)
    this.#race = new Race(allowed, this.#port, this.environment, this)
    this.#race.attempt()
  }

  /** The addresses that may be dialled; throws when there are none. */
  #judge(candidates: readonly IpAddress[]): IpAddress[] {
    const refusals: RefusalCode[] = []
    const allowed = candidates.filter(({ address }) => {
      const code = this.environment.policy.refusal(address, this.#port)
      if (code !== undefined) refusals.push(code)
      return code === undefined
    })
    if (allowed.length > 0) return allowed
    throw forbidden(refusals)
  }
}
