/**
 * Echo requests on behalf of clients, through one raw socket per address family for the whole process (specification
 * 7). Id, sequence and TTL go out as the client chose them; the payload is random and tells apart two clients that
 * chose the same.
 *
 * Each request gets one answer: the first reply or error settles it, and duplicates are dropped. The reference forwards
 * duplicates for as long as it waits; but once a request is settled the next identical one may go out, and a duplicate
 * would then be taken for the answer to that.
 */
import type { EchoChannel } from '../contract/echo-channel.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Counters, TotalLabel } from '../counters.ts'
import { EndpointError, isRefusal } from '../errors.ts'
import type { Log } from '../log.ts'
import type { IcmpReply, IcmpRequest } from '../wire/icmp-frame.ts'
import { formatIp, ipBytes } from '../wire/ip-address.ts'
import { normalizePeerAddress } from '../wire/ip-kind.ts'
import type { AddressCheck } from './egress-policy.ts'
import {
  createEchoRequest,
  echoPayload,
  HEAD_BYTES,
  MAX_ECHO_PAYLOAD_BYTES,
  parseIcmpPacket,
  parseIcmpv6Message,
  sealEchoRequest,
  type EchoAnswer,
} from './icmp-packet.ts'
import {
  echoKey,
  PendingEchoes,
  type EchoMark,
  type EchoOwner,
  type EchoSlot,
  type PendingEcho,
} from './icmp-pending.ts'
import type { RawSocket, RawSocketOptions } from './raw-socket.ts'

/** How many payloads are drawn before a request is held back. With 4 bytes or more the second draw succeeds. */
const MAX_DRAWS = 16
/** Requests with the same destination, id and sequence at one time. */
const MAX_GROUP = 64
/** Replies that the kernel keeps while the lane is busy: about 300 small ones. */
const RECEIVE_BUFFER_BYTES = 256 * 1024

type DropReason = TotalLabel<'icmp_drops'>

export interface IcmpOptions {
  /** Use this interface only. */
  readonly interfaceName: string | undefined
  readonly ipv6Available: boolean
  /** How long to wait for an answer. */
  readonly requestTimeoutMs: number
  readonly slots: { readonly endpoint: EchoSlot; of(user: string): EchoSlot }
  /** Unanswered requests of all users together. */
  readonly maxPending: number
  /** Unanswered requests of one user. */
  readonly maxPendingPerUser: number
  readonly policy: AddressCheck
  /** Fills its argument with unpredictable bytes (`crypto.randomFillSync`). */
  readonly fillRandom: (bytes: Buffer) => void
  readonly clock: Clock
  readonly counters: Counters
  readonly log: Log
}

/** Opens one socket (`raw-socket.ts`). Throws `unsupported` where the kernel lacks the address family. */
type OpenRawSocket = (options: RawSocketOptions) => RawSocket

/**
 * Opens the sockets. Where the kernel lacks one address family it warns and serves the other.
 * @throws EndpointError `config_invalid`, naming what is missing: CAP_NET_RAW, the interface, Linux; `unsupported`
 *   when neither family is available.
 */
export async function openIcmp(options: IcmpOptions): Promise<IcmpEgress> {
  // Loaded only when needed: koffi is native code.
  const { openRawSocket } = await import('./raw-socket.ts')
  return openFamilies(options, openRawSocket)
}

/** {@link openIcmp} with the sockets of `openSocket`. */
export function openFamilies(options: IcmpOptions, openSocket: OpenRawSocket): IcmpEgress {
  const egress = new IcmpEgress(options)
  const open = (family: 4 | 6): void => {
    const socket = openSocket({
      family,
      interfaceName: options.interfaceName,
      receiveBufferBytes: RECEIVE_BUFFER_BYTES,
      onPacket: (packet, source) => egress.receive(family, packet, source),
      onError: (error) => {
        options.counters.count('icmp_errors', `ipv${family}`)
        options.log.warn({ err: error }, 'ICMP socket error')
      },
    })
    egress.use(family, socket)
  }
  const families = options.ipv6Available ? ([4, 6] as const) : ([4] as const)
  const missing: unknown[] = []
  for (const family of families) {
    try {
      open(family)
    } catch (error) {
      missing.push(error)
      if (isFamilyMissing(error) && missing.length < families.length) continue
      egress.close()
      throw error
    }
  }
  for (const error of missing) options.log.warn({ err: error }, 'ICMP works for one address family only')
  return egress
}

function isFamilyMissing(error: unknown): boolean {
  return error instanceof EndpointError && error.code === 'unsupported'
}

/** Made by {@link openIcmp}. */
export class IcmpEgress {
  readonly #options: IcmpOptions
  readonly #requestTimeoutMs: number
  readonly #maxPending: number
  readonly #maxPendingPerUser: number
  readonly #sockets = new Map<4 | 6, RawSocket>()
  readonly #pending = new PendingEchoes()
  /** Runs only while something is pending. */
  #tick: Timer | undefined

  constructor(options: IcmpOptions) {
    this.#options = options
    this.#requestTimeoutMs = options.requestTimeoutMs
    this.#maxPending = options.maxPending
    this.#maxPendingPerUser = options.maxPendingPerUser
    options.counters.gauge('icmp_pending', () => this.#pending.size)
  }

  /** Gives a family its socket; the egress closes it. */
  use(family: 4 | 6, socket: RawSocket): void {
    this.#sockets.set(family, socket)
  }

  /** @param user the user whose limit the requests count against. */
  open(user: string, onReply: (reply: IcmpReply) => void): EchoChannel {
    const owner: EchoOwner = { slot: this.#options.slots.of(user), closed: false, onReply }
    return {
      send: (request) => {
        if (!owner.closed) this.#submit(owner, request)
      },
      close: () => {
        owner.closed = true
      },
    }
  }

  /** Ends everything; no answer is delivered after this. Idempotent. */
  close(): void {
    for (const socket of this.#sockets.values()) socket.close()
    this.#sockets.clear()
    this.#tick?.cancel()
    this.#tick = undefined
  }

  /** Takes a packet from the socket of `family`. */
  receive(family: 4 | 6, packet: Buffer, source: string): void {
    const answer = family === 4 ? parseIcmpPacket(packet) : parseIcmpv6Message(packet)
    const from = answer && normalizePeerAddress(source)
    if (!answer || !from) return
    const asked = answer.quotedDestination === undefined ? from.address : formatIp(answer.quotedDestination)
    const echo = this.#pending.find(echoKey(asked, answer.id, answer.sequence), answer)
    // Usually a reply to another program's ping, or a duplicate.
    if (echo === undefined) return
    this.#forget(echo)
    this.#release(echo.key)
    if (!echo.owner.closed) echo.owner.onReply(replyTo(echo.request, answer, from))
  }

  #submit(owner: EchoOwner, request: IcmpRequest): void {
    // The policy judges the address that is really used: an IPv4-mapped one is reached over IPv4.
    const target = normalizePeerAddress(request.destination)
    if (target === undefined) return
    const key = echoKey(target.address, request.id, request.sequence)
    const reason =
      this.#refusal(request, target.family, key) ?? this.#judge(target.address) ?? this.#reserve(owner)
    if (reason !== undefined) {
      this.#drop(reason)
      return
    }
    const deadlineMs = this.#options.clock.now() + this.#requestTimeoutMs
    const echo: PendingEcho = { owner, request, key, deadlineMs, mark: undefined }
    this.#pending.add(echo)
    this.#tick ??= this.#options.clock.every(Math.max(50, this.#requestTimeoutMs / 8), () => this.#expire())
    this.#launch(echo, target.address, target.family)
  }

  #refusal(request: IcmpRequest, family: 4 | 6, key: string): DropReason | undefined {
    if (!this.#sockets.has(family)) return 'no_socket'
    if (request.ttl === 0) return 'ttl'
    if (request.dataSize > MAX_ECHO_PAYLOAD_BYTES[family]) return 'too_long'
    return this.#pending.groupSize(key) >= MAX_GROUP ? 'ambiguous' : undefined
  }

  /** Takes the places of one request. */
  #reserve({ slot }: EchoOwner): 'limit' | 'user_limit' | undefined {
    const { endpoint } = this.#options.slots
    if (!endpoint.take('echoes', this.#maxPending)) return 'limit'
    if (slot.take('echoes', this.#maxPendingPerUser)) return undefined
    endpoint.give('echoes')
    return 'user_limit'
  }

  #judge(address: string): DropReason | undefined {
    try {
      this.#options.policy.check(address, 0)
      return undefined
    } catch (error) {
      return isRefusal(error) ? error.code : 'internal'
    }
  }

  #drop(reason: DropReason): void {
    this.#options.counters.count('icmp_drops', reason)
  }

  /** Sends the request, or leaves it waiting behind an identical one. */
  #launch(echo: PendingEcho, address: string, family: 4 | 6): void {
    const { id, sequence, dataSize, ttl } = echo.request
    const message = createEchoRequest(family, id, sequence, dataSize)
    const mark = this.#draw(echo.key, family, message)
    if (mark === undefined) return
    echo.mark = mark
    const failure = this.#sockets.get(family)?.send(message, ipBytes(address) ?? message, ttl)
    if (failure === undefined) {
      this.#options.counters.count('icmp_requests')
    } else {
      this.#drop(failure)
      this.#forget(echo)
      this.#release(echo.key)
    }
  }

  /** Draws a payload that no answer to another request can match; undefined when there is none. */
  #draw(key: string, family: 4 | 6, message: Buffer): EchoMark | undefined {
    const payload = echoPayload(message)
    for (let draw = 0; draw < MAX_DRAWS; draw += 1) {
      if (payload.length > 0) this.#options.fillRandom(payload)
      const sum = sealEchoRequest(family, message)
      const mark = { sum, payloadBytes: payload.length, head: Buffer.from(payload.subarray(0, HEAD_BYTES)) }
      if (!this.#pending.collides(key, mark)) return mark
      if (payload.length === 0) return undefined
    }
    return undefined
  }

  #forget(echo: PendingEcho): void {
    this.#pending.remove(echo)
    echo.owner.slot.give('echoes')
    this.#options.slots.endpoint.give('echoes')
    if (this.#pending.size > 0) return
    this.#tick?.cancel()
    this.#tick = undefined
  }

  /** Sends the next request of a group that is being held back, if there is one. */
  #release(key: string): void {
    const held = this.#pending.nextHeld(key)
    const target = held && normalizePeerAddress(held.request.destination)
    if (held && target) this.#launch(held, target.address, target.family)
  }

  #expire(): void {
    const expired = this.#pending.expired(this.#options.clock.now())
    // Remove all of them first, so that none is sent whose own time is up.
    for (const echo of expired) {
      this.#drop(echo.mark === undefined ? 'held' : 'unanswered')
      this.#forget(echo)
    }
    for (const echo of expired) this.#release(echo.key)
  }
}

/** A reply names the target as the client wrote it, an error names the router that sent it. */
function replyTo(
  request: IcmpRequest,
  answer: EchoAnswer,
  from: { readonly address: string; readonly family: 4 | 6 },
): IcmpReply {
  const fromTarget = answer.quotedDestination === undefined
  return {
    id: request.id,
    source: fromTarget ? request.destination : from.address,
    family: fromTarget ? request.family : from.family,
    type: answer.type,
    code: answer.code,
    sequence: request.sequence,
  }
}
