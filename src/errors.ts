/**
 * The endpoint's errors: one class with a stable code. The code serves as log field, metric label, and what a test
 * asserts.
 */

/** Why a tunnel was refused to a user, whose credentials are in order. `docs/protocol.md` gives the status and headers of each. */
export const REFUSAL_CODES = [
  'target_refused',
  'target_unreachable',
  'target_timeout',
  'target_private',
  'target_loopback',
  'target_denied',
  'limit_exceeded',
  'not_available',
] as const
export type RefusalCode = (typeof REFUSAL_CODES)[number]

/** Codes that never become an HTTP status: input that cannot be decoded, faults of our own, why a session was ended. */
export const INTERNAL_CODES = [
  'too_short',
  'malformed',
  'too_long',
  'unsupported',
  'config_invalid',
  'internal',
  'credentials_revoked',
] as const
type InternalCode = (typeof INTERNAL_CODES)[number]

export type ErrorCode = RefusalCode | InternalCode

export class EndpointError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'EndpointError'
    this.code = code
  }
}

/** Whether a live session ends because its credentials are no longer accepted. */
export function isRevocation(error: Error | undefined): boolean {
  return error instanceof EndpointError && error.code === 'credentials_revoked'
}

export function isRefusal(error: unknown): error is EndpointError & { code: RefusalCode } {
  return error instanceof EndpointError && (REFUSAL_CODES as readonly string[]).includes(error.code)
}
