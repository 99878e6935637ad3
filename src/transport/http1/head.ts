/** Heads of HTTP/1.1 messages (RFC 9112 sections 4 and 5), and what a web server's answers look like. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { RequestHeaders, ResponseHeaders } from '../../contract/exchange.ts'
import type { Channel } from '../../contract/session.ts'

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
  /**
   * The whole answer to a request that the parser accepts but a web server would refuse; undefined when there is
   * nothing to refuse.
   */
  refusalOf(message: IncomingMessage, wallMs: number): Buffer | undefined
  /** The whole answer to input that the parser refused with `code`; undefined: close without an answer. */
  malformedAnswer(bytes: Buffer, code: string, wallMs: number): Buffer | undefined
  /** Whether a request may leave HTTP for `protocol`, the value of its `Upgrade`; otherwise the field is ignored. */
  mayUpgrade(channel: Channel, path: string, protocol: string): boolean
}

/** The bytes of a status line and its fields (names and values alternating), in latin1, with the empty line. */
export function encodeHead(minor: number, status: number, reason: string, fields: readonly string[]): string {
  let head = `HTTP/1.${minor} ${status} ${reason}\r\n`
  for (const [index, part] of fields.entries()) head += index % 2 === 0 ? `${part}: ` : `${part}\r\n`
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
