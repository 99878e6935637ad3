/** The scheme of a request's target, in any case (RFC 3986 section 3.1). */
import type { RequestScheme } from '../contract/exchange.ts'

/** Undefined for any other than the two, and without one. */
export function parseScheme(text: string | undefined): RequestScheme | undefined {
  const scheme = text?.toLowerCase()
  return scheme === 'http' || scheme === 'https' ? scheme : undefined
}
