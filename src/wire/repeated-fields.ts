/** What nginx makes of a request field that comes more than once, whatever the HTTP version. */

/** Fields that it takes once: it answers 400 to a second one. */
export const TAKEN_ONCE: ReadonlySet<string> = new Set([
  'authorization',
  'content-length',
  'content-range',
  'expect',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'transfer-encoding',
])
/** Fields that are no lists: those that come after the first are ignored. */
export const FIRST_COUNTS: ReadonlySet<string> = new Set([
  'content-type',
  'from',
  'max-forwards',
  'proxy-authorization',
  'range',
  'referer',
  'user-agent',
])
