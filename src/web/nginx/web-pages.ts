/**
 * Answers that are the same on every site: error pages with the bytes that nginx sends (`server_tokens off`), so that
 * to a stranger we look like the most common web server.
 */
import type { Clock } from '../../clock.ts'
import type { Exchange, ResponseHeaders } from '../../contract/exchange.ts'
import { discardContent } from '../content.ts'

/** The value of the `server` field. */
export const SERVER_NAME = 'nginx'

const TITLES: Readonly<Record<number, string>> = {
  301: 'Moved Permanently',
  302: 'Found',
  400: 'Bad Request',
  401: 'Authorization Required',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Not Allowed',
  408: 'Request Time-out',
  411: 'Length Required',
  412: 'Precondition Failed',
  413: 'Request Entity Too Large',
  414: 'Request-URI Too Large',
  415: 'Unsupported Media Type',
  416: 'Requested Range Not Satisfiable',
  421: 'Misdirected Request',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Temporarily Unavailable',
  504: 'Gateway Time-out',
  505: 'HTTP Version Not Supported',
  507: 'Insufficient Storage',
}

/** Errors that share a status but have pages of their own: the title line, and a line of text below the heading. */
const SPECIAL = {
  plain_http: 'The plain HTTP request was sent to HTTPS port',
  header_too_large: 'Request Header Or Cookie Too Large',
} as const
export type SpecialError = keyof typeof SPECIAL

/** Old browsers replaced short pages by one of their own. */
const PADDING = '<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n'.repeat(6)

const pages = new Map<string, Buffer>()

/**
 * The bytes of the page; undefined for a status that has none (407). The buffer of a page is shared: do not change it.
 */
export function errorPage(status: number, userAgent = '', special?: SpecialError): Buffer | undefined {
  const title = TITLES[status]
  if (title === undefined) return undefined
  const padded = status >= 400 && wantsPadding(userAgent)
  const key = `${status}${special ?? ''}${padded ? '+' : ''}`
  let page = pages.get(key)
  if (page === undefined) {
    page = renderPage(`${status} ${title}`, special === undefined ? undefined : SPECIAL[special], padded)
    pages.set(key, page)
  }
  return page
}

/** What follows the status in a status line: nginx's words; empty when the status is not an error. */
export function reasonPhrase(status: number): string {
  return status === 302 ? 'Moved Temporarily' : (TITLES[status] ?? '')
}

function renderPage(heading: string, special: string | undefined, padded: boolean): Buffer {
  const title = special === undefined ? heading : `400 ${special}`
  const lines = ['<html>', `<head><title>${title}</title></head>`, '<body>']
  lines.push(`<center><h1>${heading}</h1></center>`)
  if (special !== undefined) lines.push(`<center>${special}</center>`)
  lines.push(`<hr><center>${SERVER_NAME}</center>`, '</body>', '</html>', '')
  return Buffer.from(lines.join('\r\n') + (padded ? PADDING : ''), 'latin1')
}

function wantsPadding(userAgent: string): boolean {
  if (userAgent.includes('Opera')) return false
  const explorer = userAgent.indexOf('MSIE ')
  if (explorer >= 0 && explorer + 7 < userAgent.length) return true
  return userAgent.includes('Chrome/') && !userAgent.includes('Gecko/')
}

/** Sends pages; holds the clock for the `date` field. */
export class WebPages {
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The fields that begin every answer. */
  opening(): { server: string; date: string } {
    return { server: SERVER_NAME, date: new Date(this.#clock.wall()).toUTCString() }
  }

  /**
   * Answers with the page for `status`; the `after` fields come after the page's length, in nginx's order. What the
   * client still sends is discarded. Never throws.
   */
  send(exchange: Exchange, status: number, after: ResponseHeaders = {}): void {
    // nginx gives up on a bad request before it has read which browser sent it.
    const userAgent = status === 400 ? undefined : exchange.headers['user-agent']
    const page = errorPage(status, userAgent)
    if (page === undefined) {
      exchange.refuse(status, { ...this.opening(), ...after })
      return
    }
    const headers: ResponseHeaders = {
      ...this.opening(),
      'content-type': 'text/html',
      'content-length': String(page.length),
      ...after,
    }
    this.#sendWhole(exchange, status, headers, page)
  }

  #sendWhole(exchange: Exchange, status: number, headers: ResponseHeaders, content: Buffer): void {
    try {
      if (exchange.method === 'HEAD') exchange.respond(status, headers, { endStream: true })
      else exchange.respond(status, headers).end(content)
      if (exchange.kind === 'plain') discardContent(exchange, this.#clock)
    } catch {
      // The client is gone, or the transport cannot carry these fields: nothing more can be sent on this stream.
      exchange.reset('internal_error')
    }
  }
}
