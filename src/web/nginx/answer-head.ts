/**
 * The head of an HTTP/1.1 answer in nginx's hand: spelling and order of the fields, words of the status line, and
 * when the connection ends with it. `lane/rooms.ts` gives these to the transport, which knows of no web server.
 */
import type { ResponseHeaders } from '../../contract/exchange.ts'
import { HeadJudge } from './head-judge.ts'
import type { HeadVerdict } from './head-judge.ts'
import { HeadReader } from './http-head.ts'
import { encodeAnswer } from './plain-http.ts'
import { reasonPhrase } from './web-pages.ts'

interface AnswerHead {
  /** Empty: the usual one. */
  readonly reason: string
  /** Names and values in turn, `Connection` among them. */
  readonly fields: readonly string[]
}

/** Fields in front of `Connection`, in nginx's order; all others follow as they come. */
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
/** Names that are not spelled with a capital after each hyphen. */
const SPELLINGS: Readonly<Record<string, string>> = { etag: 'ETag', 'www-authenticate': 'WWW-Authenticate' }

/** Statuses after which nginx closes. */
const CLOSING: ReadonlySet<number> = new Set([400, 413, 414, 500, 501])

/** Whether the connection must end after this answer although the client would keep it. */
export function closesConnection(status: number, method: string): boolean {
  return CLOSING.has(status) || method === 'TRACE' || method === 'CONNECT'
}

/** `headers` with names in lower case; a `connection` among them is replaced. */
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

/**
 * The whole answer to bytes that the HTTP parser refused with `code`; the connection ends after it. Undefined: nginx
 * would end without a word, since the head is not whole. `bytes` is what was received, as far as it is still known.
 */
export function malformedAnswer(bytes: Buffer, code: string, wallMs: number): Buffer | undefined {
  if (code === 'HPE_HEADER_OVERFLOW')
    return encodeAnswer({ kind: 'bad', status: 400, special: 'header_too_large' }, wallMs)
  const verdict = new HeadReader().push(bytes)
  return verdict && encodeAnswer(overTls(verdict), wallMs)
}

/** A head as the parser understood it. */
interface ParsedHead {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly httpVersionMajor: number
  readonly httpVersionMinor: number
  /** Names and values in turn. */
  readonly rawHeaders: readonly string[]
}

/** The whole answer to a request that the parser let pass and nginx refuses; undefined when it is sound. */
export function refusalOf(head: ParsedHead, wallMs: number): Buffer | undefined {
  const verdict = judge(head)
  return verdict.kind === 'bad' ? encodeAnswer(verdict, wallMs) : undefined
}

/** As long as a line of it was at least, without its end: blanks around a value are not known any more. */
const REQUEST_LINE_EXTRA = '  HTTP/1.1\r'.length
const FIELD_EXTRA = ': \r'.length

function judge({
  method = '',
  url = '',
  httpVersionMajor,
  httpVersionMinor,
  rawHeaders,
}: ParsedHead): HeadVerdict {
  const head = new HeadJudge()
  const version = { major: httpVersionMajor, minor: httpVersionMinor }
  const refused =
    head.takeLine(method.length + url.length + REQUEST_LINE_EXTRA) ??
    head.takeRequest({ method, target: url, version })
  if (refused) return refused
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const [name = '', value = ''] = rawHeaders.slice(index, index + 2)
    const verdict = head.takeLine(name.length + value.length + FIELD_EXTRA) ?? head.takeField(name, value)
    if (verdict) return verdict
  }
  return head.finish(0)
}

/** What is sound to nginx and was still refused: an unusual method mostly. */
function overTls(verdict: HeadVerdict): HeadVerdict {
  if (verdict.kind === 'bad') return verdict
  const known = /^(?:GET|HEAD|POST)$/.test(verdict.method)
  return { kind: 'bad', status: known ? 400 : 405 }
}

/** What an HTTP/1.1 transport needs to write and end its answers like nginx. */
export const nginxStyle = { closesConnection, formatHead: formatAnswerHead, malformedAnswer, refusalOf }
