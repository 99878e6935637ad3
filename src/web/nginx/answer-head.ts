/**
 * The head of an HTTP/1.1 answer as nginx would write it: spelling and order of the fields, the reason phrase, and when
 * the connection ends with it. `lane/rooms.ts` gives these to the transport, which knows no particular web server.
 */
import type { ResponseHeaders } from '../../contract/exchange.ts'
import { HeadJudge } from './head-judge.ts'
import type { HeadVerdict } from './head-judge.ts'
import { HeadReader } from './http-head.ts'
import { encodeAnswer } from './plain-http.ts'
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

/**
 * The whole answer to bytes that the HTTP parser refused with `code`; the connection ends after it. Undefined: the head
 * is incomplete, and nginx would close without an answer. `bytes` is as much of the input as is still known.
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
  /** Names and values alternating. */
  readonly rawHeaders: readonly string[]
}

/** The whole answer to a request that the parser accepts but nginx refuses; undefined when nginx accepts it too. */
export function refusalOf(head: ParsedHead, wallMs: number): Buffer | undefined {
  const verdict = judge(head)
  return verdict.kind === 'bad' ? encodeAnswer(verdict, wallMs) : undefined
}

/** The least that a line of it takes, without its end: how many blanks surrounded the value is no longer known. */
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

/** For a request that is sound to nginx but was refused by the parser, mostly because of an unusual method. */
function overTls(verdict: HeadVerdict): HeadVerdict {
  if (verdict.kind === 'bad') return verdict
  const known = /^(?:GET|HEAD|POST)$/.test(verdict.method)
  return { kind: 'bad', status: known ? 400 : 405 }
}

/** What an HTTP/1.1 transport needs to write and end its answers like nginx. */
export const nginxStyle = { closesConnection, formatHead: formatAnswerHead, malformedAnswer, refusalOf }
