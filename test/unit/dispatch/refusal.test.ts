/** The error table of `docs/protocol.md`, row by row. */
import { describe, expect, it } from 'vitest'
import { EndpointError, REFUSAL_CODES } from '../../../src/errors.ts'
import { authRefusal, refusalOf, systemCodeOf } from '../../../src/dispatch/refusal.ts'

const AUTHORITY = '10.0.0.1:80'
const TABLE = {
  target_refused: [502, { 'x-warning': '300 - Connection failed for some reason' }],
  target_unreachable: [502, { 'x-warning': '301 - Remote host is unreachable' }],
  target_timeout: [502, { 'x-warning': '302 - Connection timed out' }],
  target_private: [
    502,
    { 'x-adguard-vpn-error': AUTHORITY, 'x-warning': '310 - DNS: resolved address in non-routable network' },
  ],
  target_loopback: [
    502,
    { 'x-adguard-vpn-error': AUTHORITY, 'x-warning': '311 - DNS: resolved address in loopback' },
  ],
  target_denied: [502, { 'x-warning': '320 - Destination denied by filtering rules' }],
  limit_exceeded: [429, { 'retry-after': '30' }],
  not_available: [501, {}],
} as const

describe('refusalOf', () => {
  it.each(REFUSAL_CODES)('refusalOf answers %s with its row of the error table', (code) => {
    const [status, headers] = TABLE[code]
    expect(refusalOf(new EndpointError(code, 'why'), AUTHORITY)).toEqual({ code, status, headers })
  })

  it('refusalOf treats anything unexpected as refused', () => {
    expect(refusalOf(new TypeError('bug'), AUTHORITY).code).toBe('target_refused')
    expect(refusalOf(new EndpointError('malformed', 'bad'), AUTHORITY).code).toBe('target_refused')
  })

  it('refusalOf challenges with 407 only', () => {
    for (const status of [405, 404, 403] as const) {
      expect(authRefusal(status, 'a realm')).toEqual({ code: 'auth_required', status, headers: {} })
    }
  })
})

describe('systemCodeOf', () => {
  it('systemCodeOf finds it under errors of our own', () => {
    const system = Object.assign(new Error('connect ECONNREFUSED 192.0.2.1:443'), { code: 'ECONNREFUSED' })
    const inner = new EndpointError('target_refused', 'the connection failed', { cause: system })
    expect(systemCodeOf(inner)).toBe('ECONNREFUSED')
    expect(systemCodeOf(new EndpointError('target_refused', 'no', { cause: inner }))).toBe('ECONNREFUSED')
  })

  it('systemCodeOf is undefined where the system said nothing', () => {
    expect(systemCodeOf(undefined)).toBeUndefined()
    expect(systemCodeOf(new EndpointError('not_available', 'no'))).toBeUndefined()
    expect(systemCodeOf(new DOMException('gone', 'AbortError'))).toBeUndefined()
  })
})
