/** The logger that rooms are given. `control/` and `lane/thread.ts` decide where it writes. */
import type { Logger } from 'pino'

/**
 * A pino logger: `log.info({ code, user }, 'message')`. Never give it a password, the value of an authorization header,
 * or a private key.
 */
export type Log = Pick<Logger, 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'isLevelEnabled'>

/** What a log line may say about addresses (`[culvert.log] privacy`). */
export type Privacy = 'full' | 'no-targets' | 'anonymous'

/** Fields that name a client address, empty when the level hides it. */
export function clientFields(privacy: Privacy, address: string): { client?: string } {
  return privacy === 'anonymous' ? {} : { client: address }
}

/** Fields that name a target, empty unless the level is `full`. */
export function targetFields(privacy: Privacy, target: string): { target?: string } {
  return privacy === 'full' ? { target } : {}
}
