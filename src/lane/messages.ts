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

/** A question carries `id`; its answer is `answer` or `failure` with the same. */
export type ToLane =
  | { readonly type: 'start'; readonly id: number }
  /** New hosts, certificates, users and rules; the rest of the settings is as at birth. */
  | { readonly type: 'apply'; readonly id: number; readonly settings: Settings }
  | { readonly type: 'stats'; readonly id: number }
  | { readonly type: 'close'; readonly id: number; readonly graceMs: number }
  | { readonly type: 'destroy'; readonly reason: string }

/** A message to a lane that is answered, without its `id`. */
export type LaneQuestion =
  | { readonly type: 'start' }
  | { readonly type: 'apply'; readonly settings: Settings }
  | { readonly type: 'stats' }
  | { readonly type: 'close'; readonly graceMs: number }

export type FromLane =
  | { readonly type: 'log'; readonly line: string }
  | { readonly type: 'answer'; readonly id: number; readonly value: unknown }
  | {
      readonly type: 'failure'
      readonly id: number
      readonly message: string
      readonly code: string | undefined
    }
