/** Heads of HTTP/1.1 answers (RFC 9112 sections 4 and 5), and what a web server's answers look like. */
import type { ResponseHeaders } from '../../contract/exchange.ts'
import type { Channel } from '../../contract/session.ts'
import type { RefusedHead } from '../../wire/http1/head.ts'

/** What the answers of a web server look like. The lane provides it; the transport knows no particular server. */
export interface Http1Style {
  /** Whether the connection must end after this answer although the client would keep it open. */
  closesConnection(status: number, method: string): boolean
  /**
   * The reason phrase of the status line (empty: the usual one), and names and values of the fields alternating,
   * `Connection` included.
   */
  formatHead(
    status: number,
    headers: ResponseHeaders,
    connection: 'keep-alive' | 'close' | 'upgrade',
  ): { readonly reason: string; readonly fields: readonly string[] }
  /** The whole answer to a head that was refused. */
  encodeRefusal(head: RefusedHead, wallMs: number): Buffer
  /** Whether a request may leave HTTP for `protocol`, the value of its `Upgrade`; otherwise the field is ignored. */
  mayUpgrade(channel: Channel, path: string, protocol: string): boolean
}

/** What a field may not contain (RFC 9110 section 5.5), and what latin1 cannot carry: some of that would become LF. */
const FORBIDDEN = /[^\t\x20-\x7e\x80-\xff]/

/**
 * A status line and its fields (names and values alternating), for latin1, with the empty line. Throws a `TypeError`
 * when they would make another message.
 */
export function encodeHead(minor: number, status: number, reason: string, fields: readonly string[]): string {
  let head = `HTTP/1.${minor} ${status} ${reason}\r\n`
  for (const [index, part] of fields.entries()) {
    if (FORBIDDEN.test(part)) throw new TypeError('a field of an answer cannot be sent')
    head += index % 2 === 0 ? `${part}: ` : `${part}\r\n`
  }
  return `${head}\r\n`
}
