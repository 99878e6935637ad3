/** The messages between the control thread and a lane (`docs/architecture.md`). Plain data only. */
import type { Settings } from '../config/settings.ts'

/** Everything that a lane's thread is started with. */
export interface LaneBirth {
  readonly settings: Settings
  readonly logLevel: string
  /** 48 bytes, the same for all lanes. */
  readonly ticketKeys: Uint8Array
}

export interface ListenAddress {
  readonly address: string
  readonly port: number
}

/** What the control thread asks a lane. */
export type LaneQuestion =
  | { readonly type: 'start' }
  /** New hosts, certificates, users and rules; all other settings stay as they were at the start. */
  | { readonly type: 'apply'; readonly settings: Settings }
  | { readonly type: 'stats' }
  | { readonly type: 'close'; readonly graceMs: number }

/** What the lane answers, by the type of the question. */
export interface LaneAnswers {
  readonly start: ListenAddress
  readonly apply: undefined
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
  | { readonly type: 'log'; readonly line: string }
  | { readonly type: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly type: 'failure'; readonly id: number; readonly fault: LaneFault }
  /** Nothing caught this fault: the thread ends as soon as it can. */
  | { readonly type: 'end'; readonly fault: LaneFault }
