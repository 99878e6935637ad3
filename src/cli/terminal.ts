/** What commands print for people, how they exit, and the error for a wrong command line. */

/** What commands write for people, apart from the log. */
export interface Terminal {
  readonly out: (text: string) => void
  readonly error: (text: string) => void
}

/** 0 ended in order, 1 failed while running, 2 wrong command line or configuration. */
export type ExitCode = 0 | 1 | 2

/** A command line that makes no sense: printed with a hint, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
