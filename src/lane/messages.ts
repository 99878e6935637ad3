/** What the control thread and a lane say to each other (`docs/architecture.md`). Plain data only. */
import type { Settings } from '../config/settings.ts'

/** Everything that a lane is born with. */
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

/** What a lane is asked. */
export type LaneQuestion =
  | { readonly type: 'start' }
  /** New hosts, certificates, users and rules; the rest of the settings is as at birth. */
  | { readonly type: 'apply'; readonly settings: Settings }
  | { readonly type: 'stats' }
  | { readonly type: 'close'; readonly graceMs: number }

/** A question carries `id`; its answer is `answer` or `failure` with the same. */
export type ToLane = LaneQuestion & { readonly id: number }

/** An error, field by field: not every one survives the way between threads whole. */
export interface LaneFault {
  readonly message: string
  readonly code: string | undefined
  readonly stack: string | undefined
}

export type FromLane =
  | { readonly type: 'log'; readonly line: string }
  | { readonly type: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly type: 'failure'; readonly id: number; readonly fault: LaneFault }
  /** Nobody has caught it: the thread ends, as soon as it can. */
  | { readonly type: 'end'; readonly fault: LaneFault }
