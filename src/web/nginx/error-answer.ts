/** Whole HTTP/1.1 answers with an error page, as nginx gives them to a head that it refuses. */
import type { Head } from '../../wire/http1/head.ts'
import { errorPage, reasonPhrase, SERVER_NAME } from './web-pages.ts'
import type { SpecialError } from './web-pages.ts'

/** The answer announces the end of the connection. A sound head is one that came without TLS. */
export function encodeErrorAnswer(head: Head, wallMs: number): Buffer {
  const status = head.kind === 'sound' ? 400 : head.status
  const page = errorPage(status, userAgentOf(head), specialOf(head)) ?? Buffer.alloc(0)
  if (isBare(head)) return page
  const fields =
    `HTTP/1.1 ${status} ${reasonPhrase(status)}\r\nServer: ${SERVER_NAME}\r\n` +
    `Date: ${new Date(wallMs).toUTCString()}\r\nContent-Type: text/html\r\n` +
    `Content-Length: ${page.length}\r\nConnection: close\r\n\r\n`
  return Buffer.concat([Buffer.from(fields, 'latin1'), head.method === 'HEAD' ? Buffer.alloc(0) : page])
}

function isBare(head: Head): boolean {
  return head.kind === 'sound' ? head.minor === undefined : head.bare
}

function userAgentOf(head: Head): string {
  return head.kind === 'sound' ? (head.headers['user-agent'] ?? '') : head.userAgent
}

function specialOf(head: Head): SpecialError | undefined {
  if (head.kind === 'sound') return 'plain_http'
  return head.fault === 'fields_too_large' ? 'header_too_large' : undefined
}
