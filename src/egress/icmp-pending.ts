/**
 * Echo requests that wait for an answer or for their turn (specification 7). Requests with the same destination, id and
 * sequence form a group, whoever sent them; within a group either their payloads tell them apart, or only one of them
 * is on its way at a time.
 */
import type { IcmpReply, IcmpRequest } from '../wire/icmp-frame.ts'
import { HEAD_BYTES, type EchoAnswer } from './icmp-packet.ts'

/**
 * From this length on a quoted payload is proof enough, and a checksum that an address translator got wrong is
 * forgiven.
 */
const TELLING_BYTES = 4

/** What the endpoint, or a user, has pending in all lanes (`users/ledger.ts`). */
export interface EchoSlot {
  take(what: 'echoes', limit: number): boolean
  give(what: 'echoes'): void
}

/** Who asked. */
export interface EchoOwner {
  readonly slot: EchoSlot
  /** A request outlives its owner until it is answered or expires, so that its answer does not reach somebody else. */
  closed: boolean
  readonly onReply: (reply: IcmpReply) => void
}

/** What identifies a request that was sent. */
export interface EchoMark {
  /** Sum of the message without pseudo-header. */
  readonly sum: number
  readonly payloadBytes: number
  /** The first bytes of the payload, at most `HEAD_BYTES`. */
  readonly head: Buffer
}

export interface PendingEcho {
  readonly owner: EchoOwner
  readonly request: IcmpRequest
  /** {@link echoKey} of the address that is really used. */
  readonly key: string
  readonly deadlineMs: number
  /** Undefined while the request is held back. */
  mark: EchoMark | undefined
}

/** @param address canonical text; never IPv4-mapped. */
export function echoKey(address: string, id: number, sequence: number): string {
  return `${address} ${id} ${sequence}`
}

export class PendingEchoes {
  readonly #groups = new Map<string, PendingEcho[]>()
  /** All wait equally long, so the order of arrival is the order of expiry. */
  readonly #byAge = new Set<PendingEcho>()

  get size(): number {
    return this.#byAge.size
  }

  groupSize(key: string): number {
    return this.#groups.get(key)?.length ?? 0
  }

  add(echo: PendingEcho): void {
    this.#byAge.add(echo)
    const group = this.#groups.get(echo.key)
    if (group === undefined) this.#groups.set(echo.key, [echo])
    else group.push(echo)
  }

  remove(echo: PendingEcho): void {
    if (!this.#byAge.delete(echo)) return
    const group = this.#groups.get(echo.key) ?? []
    if (group.length <= 1) this.#groups.delete(echo.key)
    else group.splice(group.indexOf(echo), 1)
  }

  /** Whether an answer to `mark` could be taken for an answer to another request of the group. */
  collides(key: string, mark: EchoMark): boolean {
    return (this.#groups.get(key) ?? []).some(({ mark: other }) => other !== undefined && alike(mark, other))
  }

  /** The request that `answer` belongs to. */
  find(key: string, answer: EchoAnswer): PendingEcho | undefined {
    return this.#groups.get(key)?.find(({ mark }) => mark !== undefined && answers(answer, mark))
  }

  /** The first request of the group that is being held back. */
  nextHeld(key: string): PendingEcho | undefined {
    return this.#groups.get(key)?.find((echo) => echo.mark === undefined)
  }

  /** Requests whose time is up, oldest first. They are not removed. */
  expired(nowMs: number): PendingEcho[] {
    const result: PendingEcho[] = []
    for (const echo of this.#byAge) {
      if (echo.deadlineMs > nowMs) break
      result.push(echo)
    }
    return result
  }
}

/** An answer may carry nothing but the sum or the telling part of the payload, so both must differ. */
function alike(one: EchoMark, other: EchoMark): boolean {
  if (one.sum === other.sum) return true
  if (one.head.length < TELLING_BYTES || other.head.length < TELLING_BYTES) return false
  return one.head.compare(other.head, 0, TELLING_BYTES, 0, TELLING_BYTES) === 0
}

function answers(answer: EchoAnswer, mark: EchoMark): boolean {
  const { payload } = answer
  if (answer.quotedDestination === undefined) {
    return payload.length === mark.payloadBytes && mark.head.equals(payload.subarray(0, HEAD_BYTES))
  }
  const quoted = Math.min(payload.length, mark.head.length)
  if (!mark.head.subarray(0, quoted).equals(payload.subarray(0, quoted))) return false
  return quoted >= TELLING_BYTES || answer.hasSum(mark.sum, mark.payloadBytes)
}
