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

/**
 * Fields of a fault of ours: the error with its stack. Its message and properties may name a client or a target, so below
 * `full` only its kind and the places in the code are left.
 */
export function faultFields(privacy: Privacy, error: unknown): { err: unknown } {
  return { err: privacy === 'full' ? error : { type: kindOf(error), stack: placesOf(error) } }
}

function kindOf(error: unknown): string {
  return error instanceof Error ? error.constructor.name : typeof error
}

function placesOf(error: unknown): string {
  if (!(error instanceof Error)) return ''
  const frames = (error.stack ?? '').split('\n').filter((line) => /^ +at /.test(line))
  const causes = error.cause === undefined ? [] : [`caused by: ${kindOf(error.cause)}`, placesOf(error.cause)]
  return [...frames, ...causes].join('\n')
}
