/** Heads of HTTP/1.1 messages (RFC 9112 sections 4 and 5). */
import type { IncomingHttpHeaders } from 'node:http'
import type { RequestHeaders, ResponseHeaders } from '../tunnel/session.ts'

/** The bytes of a status line and its fields, in latin1, with the empty line. */
export function encodeHead(minor: number, status: number, reason: string, headers: ResponseHeaders): string {
  let head = `HTTP/1.${minor} ${status} ${reason}\r\n`
  for (const [name, value] of Object.entries(headers)) {
    for (const single of typeof value === 'string' ? [value] : value) head += `${name}: ${single}\r\n`
  }
  return `${head}\r\n`
}

export function joinHeaders(raw: IncomingHttpHeaders): RequestHeaders {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(raw)) {
    if (value === undefined) continue
    headers[name] = Array.isArray(value) ? value.join(', ') : value
  }
  return headers
}
