/** Conditional requests on a file (RFC 9110 section 13), decided as nginx does: dates are compared for equality. */
import type { RequestHeaders } from '../../contract/exchange.ts'

interface Validators {
  /** Quoted, strong. */
  readonly etag: string
  /** Seconds since the epoch. */
  readonly modifiedSecs: number
}

/** `"hex(modified)-hex(size)"`, the same as nginx's. */
export function makeValidators(modifiedMs: number, size: number): Validators {
  const modifiedSecs = Math.floor(modifiedMs / 1000)
  return { etag: `"${modifiedSecs.toString(16)}-${size.toString(16)}"`, modifiedSecs }
}

/** 200 means that none of the conditions changes the answer. */
export function checkPreconditions(headers: RequestHeaders, file: Validators): 200 | 304 | 412 {
  const unmodifiedSince = headers['if-unmodified-since']
  // A date that cannot be read counts as earlier than everything.
  if (unmodifiedSince !== undefined && !(parseDate(unmodifiedSince) >= file.modifiedSecs)) return 412
  const match = headers['if-match']
  if (match !== undefined && !listMatches(match, file.etag, false)) return 412

  const modifiedSince = headers['if-modified-since']
  const noneMatch = headers['if-none-match']
  if (modifiedSince === undefined && noneMatch === undefined) return 200
  // With both present nginx checks both, where the RFC would ignore the date.
  if (modifiedSince !== undefined && parseDate(modifiedSince) !== file.modifiedSecs) return 200
  if (noneMatch !== undefined && !listMatches(noneMatch, file.etag, true)) return 200
  return 304
}

/** Whether `range` may be honoured in view of `if-range`. */
export function rangeApplies(ifRange: string | undefined, file: Validators): boolean {
  if (ifRange === undefined) return true
  if (ifRange.length >= 2 && ifRange.endsWith('"')) return ifRange === file.etag
  return parseDate(ifRange) === file.modifiedSecs
}

/** Seconds, or NaN. */
function parseDate(value: string): number {
  if (!HTTP_DATE.test(value)) return NaN
  // The oldest form names no zone, and JavaScript would assume the local one.
  return Date.parse(value.endsWith('GMT') ? value : `${value} GMT`) / 1000
}

/** The three forms of RFC 9110 section 5.6.7; `Date.parse` alone would accept far more. */
const HTTP_DATE =
  /^(?:[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT|[A-Z][a-z]+, \d\d-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})$/

function listMatches(list: string, etag: string, weak: boolean): boolean {
  if (list === '*') return true
  return list.split(',').some((item) => {
    const tag = item.trim()
    return tag === etag || (weak && tag === `W/${etag}`)
  })
}
