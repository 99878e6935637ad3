/**
 * The room for unsent bytes that the sessions of one native server share. It is divided so that nobody waits for those
 * who matter less or take nothing:
 *
 *   a room for users and a smaller one for strangers, so that users never wait for strangers, however many those are;
 *   within a room an account per user or per stranger's address, which gets at most half of what the others leave;
 *   within an account the sessions (`send-share.ts`), again half of what the others leave.
 */
import { MAX_PIECE_BYTES } from './send-window.ts'

/** How much the addon takes. */
const CAPACITY_BYTES = 4 * 1024 * 1024
/** For all sessions together that have not authenticated. */
export const STRANGER_ROOM_BYTES = CAPACITY_BYTES / 4
export const USER_ROOM_BYTES = CAPACITY_BYTES - STRANGER_ROOM_BYTES
/** Accounts and sessions may have this much even if their part is smaller, as long as there is room. */
export const MIN_SHARE_BYTES = 2 * MAX_PIECE_BYTES

/** A session with streams that wait for room. */
export interface HungryShare {
  readonly isHungry: boolean
  /** Notifies waiting streams as long as there is room. */
  feed(): void
}

export class SendRoom {
  readonly kind: 'user' | 'stranger'
  readonly capacityBytes: number
  readonly #accounts = new Map<string, Account>()
  /** The one that has waited longest first. */
  readonly #hungry = new Set<HungryShare>()
  #feeding = false
  /** Bytes on their way, in all accounts. */
  bytes = 0

  constructor(kind: 'user' | 'stranger', capacityBytes: number) {
    this.kind = kind
    this.capacityBytes = capacityBytes
  }

  /** The account of a user, or of an address; it exists as long as it has sessions. */
  join(name: string): Account {
    const account = this.#accounts.get(name) ?? new Account(this, name)
    this.#accounts.set(name, account)
    account.sessions++
    return account
  }

  leave(account: Account): void {
    if (--account.sessions === 0) this.#accounts.delete(account.name)
  }

  addHungry(share: HungryShare): void {
    this.#hungry.add(share)
  }

  removeHungry(share: HungryShare): void {
    this.#hungry.delete(share)
  }

  /** Something has been given back: each session in turn gets what it may have of it. */
  feed(): void {
    // Whoever is fed may end other streams, which gives more back.
    if (this.#feeding) return
    this.#feeding = true
    let left = this.#hungry.size
    for (const share of this.#hungry) {
      if (left-- === 0 || this.bytes + MAX_PIECE_BYTES > this.capacityBytes) break
      this.#hungry.delete(share)
      share.feed()
      if (share.isHungry) this.#hungry.add(share)
    }
    this.#feeding = false
  }
}

/** What the sessions of one user, or of one stranger's address, have on their way. */
export class Account {
  readonly room: SendRoom
  readonly name: string
  sessions = 0
  bytes = 0

  constructor(room: SendRoom, name: string) {
    this.room = room
    this.name = name
  }

  /** Half of what other accounts leave. */
  get limitBytes(): number {
    const { capacityBytes, bytes } = this.room
    return Math.max(MIN_SHARE_BYTES, (capacityBytes - bytes + this.bytes) / 2)
  }

  mayTake(bytes: number): boolean {
    return this.room.bytes + bytes <= this.room.capacityBytes && this.bytes + bytes <= this.limitBytes
  }

  add(bytes: number): void {
    this.bytes += bytes
    this.room.bytes += bytes
  }
}
