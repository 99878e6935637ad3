/**
 * The head of an HTTP/1.1 answer as nginx would write it: spelling and order of the fields, the reason phrase, and when
 * the connection ends with it. `lane/rooms.ts` gives these to the transport, which knows no particular web server.
 */
import type { ResponseHeaders } from '../../contract/exchange.ts'
import { encodeErrorAnswer } from './error-answer.ts'
import { reasonPhrase } from './web-pages.ts'

interface AnswerHead {
  /** Empty: the usual reason phrase. */
  readonly reason: string
  /** Names and values alternating, `Connection` included. */
  readonly fields: readonly string[]
}

/** Fields that come before `Connection`, in nginx's order; all others follow in the order given. */
const LEADING = [
  'server',
  'date',
  'content-type',
  'content-length',
  'last-modified',
  'location',
  'transfer-encoding',
] as const
const LEADING_SET: ReadonlySet<string> = new Set(LEADING)
/** Names that are not spelled with a capital letter after each hyphen. */
const SPELLINGS: Readonly<Record<string, string>> = { etag: 'ETag', 'www-authenticate': 'WWW-Authenticate' }

/** Statuses after which nginx closes the connection. */
const CLOSING: ReadonlySet<number> = new Set([400, 413, 414, 500, 501])

/** Whether the connection must end after this answer although the client would keep it open. */
export function closesConnection(status: number, method: string): boolean {
  return CLOSING.has(status) || method === 'TRACE' || method === 'CONNECT'
}

/** `headers` has lower-case names; a `connection` among them is replaced. */
export function formatAnswerHead(
  status: number,
  headers: ResponseHeaders,
  connection: 'keep-alive' | 'close' | 'upgrade',
): AnswerHead {
  const fields: string[] = []
  const put = (name: string, value: string | readonly string[] | undefined): void => {
    if (value === undefined) return
    for (const single of typeof value === 'string' ? [value] : value) fields.push(spell(name), single)
  }
  for (const name of LEADING) put(name, headers[name])
  put('connection', connection)
  for (const [name, value] of Object.entries(headers)) {
    if (!LEADING_SET.has(name) && name !== 'connection') put(name, value)
  }
  return { reason: reasonPhrase(status), fields }
}

function spell(name: string): string {
  return SPELLINGS[name] ?? name.replace(/(?:^|-)[a-z]/g, (letter) => letter.toUpperCase())
}

/** What an HTTP/1.1 transport needs to write and end its answers like nginx. */
export const nginxStyle = {
  closesConnection,
  formatHead: formatAnswerHead,
  encodeRefusal: encodeErrorAnswer,
}
