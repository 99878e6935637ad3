/**
 * Turns errors into answers: the table of `docs/protocol.md` in one place. Bodies are empty: clients read an error when
 * the stream ends.
 */
import { EndpointError, isRefusal } from '../errors.ts'
import type { RefusalCode } from '../errors.ts'
import type { ResponseHeaders } from '../contract/exchange.ts'

export interface Refusal {
  readonly code: RefusalCode | 'auth_required'
  readonly status: number
  readonly headers: ResponseHeaders
}

/** Of `limit_exceeded`, whichever limit was met. */
const RETRY_AFTER_SECS = 30

const WARNINGS = {
  target_refused: '300 - Connection failed for some reason',
  target_unreachable: '301 - Remote host is unreachable',
  target_timeout: '302 - Connection timed out',
  target_private: '310 - DNS: resolved address in non-routable network',
  target_loopback: '311 - DNS: resolved address in loopback',
  target_denied: '320 - Destination denied by filtering rules',
} as const

/**
 * The answer to credentials that are not accepted (`auth_failure_status_code`: 407, 405, 404 or 403), whatever is wrong
 * with them. The reference endpoint leaves the realm unquoted; RFC 9110 section 11.5 requires the quotes.
 */
export function authRefusal(status: number, realm: string): Refusal {
  const headers = status === 407 ? { 'proxy-authenticate': `Basic realm=${quote(realm)}` } : {}
  return { code: 'auth_required', status, headers }
}

/** RFC 9110 section 5.6.4. */
function quote(text: string): string {
  return `"${text.replaceAll(/["\\]/g, '\\$&')}"`
}

/** The answer to a failure after authentication. `authority` is the one the client sent. */
export function refusalOf(error: unknown, authority: string): Refusal {
  const code = isRefusal(error) ? error.code : 'target_refused'
  switch (code) {
    case 'limit_exceeded':
      return { code, status: 429, headers: { 'retry-after': String(RETRY_AFTER_SECS) } }
    case 'not_available':
      return { code, status: 501, headers: {} }
    case 'target_private':
    case 'target_loopback':
      return {
        code,
        status: 502,
        headers: { 'x-adguard-vpn-error': authority, 'x-warning': WARNINGS[code] },
      }
    case 'target_refused':
    case 'target_unreachable':
    case 'target_timeout':
    case 'target_denied':
      return { code, status: 502, headers: { 'x-warning': WARNINGS[code] } }
  }
}

/**
 * The system's error code (`ECONNREFUSED`, `ENOTFOUND`, `EMFILE`), however deep in the chain of causes. Never contains
 * an address.
 */
export function systemCodeOf(error: unknown): string | undefined {
  for (let each = error; each instanceof Error; each = each.cause) {
    if (each instanceof EndpointError || !('code' in each)) continue
    if (typeof each.code === 'string') return each.code
  }
  return undefined
}
