/** The messages between the control thread and a lane (`docs/architecture.md`). Plain data only. */
import type { Settings } from '../config/settings.ts'
import type { AddressTableShare } from '../users/address-table.ts'
import type { LedgerShare } from '../users/ledger-memory.ts'

/** A lane's place among the others, and what it has in common with them. */
export interface LaneShare {
  /** From 0; the first lane also has HTTP/3. */
  readonly lane: number
  readonly lanes: number
  readonly ledger: LedgerShare
  readonly addresses: AddressTableShare
  /** The thread follows another one that has died. */
  readonly isHeir: boolean
}

/** Everything that a lane's thread is started with. */
export interface LaneBirth extends LaneShare {
  readonly settings: Settings
  readonly logLevel: string
  /** 48 bytes, the same for all lanes. */
  readonly ticketKeys: Uint8Array
}

/** What the thread itself is given. */
export interface LaneThreadData extends LaneBirth {
  /** One int32, to which the thread adds as long as its event loop goes round (`control/lane-watch.ts`). */
  readonly beats: SharedArrayBuffer
}

export interface ListenAddress {
  readonly address: string
  readonly port: number
}

/** What the control thread asks a lane. */
export type LaneQuestion =
  /** The port is 0 for the first lane alone: the others get the one that it was given. */
  | { readonly type: 'start'; readonly port: number }
  /**
   * New hosts, certificates, users and rules; all other settings stay as they were at the start. Everything that can
   * fail is done now, and nothing is in force before `commit`.
   */
  | { readonly type: 'prepare'; readonly settings: Settings; readonly ledger: LedgerShare }
  /** Puts into force what was prepared. Cannot fail. */
  | { readonly type: 'commit' }
  /** Drops what was prepared, if anything was. */
  | { readonly type: 'discard' }
  | { readonly type: 'stats' }
  | { readonly type: 'close'; readonly graceMs: number }

/** What the lane answers, by the type of the question. */
export interface LaneAnswers {
  readonly start: ListenAddress
  readonly prepare: undefined
  readonly commit: undefined
  readonly discard: undefined
  readonly stats: Record<string, number>
  readonly close: undefined
}

/** A question carries an `id`; its `answer` or `failure` carries the same one. */
export type ToLane = LaneQuestion & { readonly id: number }

/** An error, field by field: not every error survives the way between threads intact. */
export interface LaneFault {
  readonly message: string
  readonly code: string | undefined
  readonly stack: string | undefined
}

export type FromLane =
  /** Complete lines, newlines included. */
  | { readonly type: 'log'; readonly lines: string }
  | { readonly type: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly type: 'failure'; readonly id: number; readonly fault: LaneFault }
  /** Nothing caught this fault: the thread ends as soon as it can. */
  | { readonly type: 'end'; readonly fault: LaneFault }
