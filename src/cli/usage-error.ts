/** A command line that makes no sense: printed with a hint, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
