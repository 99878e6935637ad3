/** Which header fields pass through a proxy (RFC 9110 section 7.6.1), and which are its own business. */
import type { IncomingHttpHeaders } from 'node:http'
import type { RequestHeaders, ResponseHeaders } from '../../contract/exchange.ts'

const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Meant for us, or written again for the next connection. */
const OWN_REQUEST_FIELDS: ReadonlySet<string> = new Set([
  'content-length',
  'expect',
  'host',
  'x-original-protocol',
])

/** The fields of a client's request that an origin gets. Fields meant for a proxy stay here, credentials included. */
export function forwardedRequestHeaders(headers: RequestHeaders): Record<string, string> {
  const named = connectionOptions(headers.connection)
  const result: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (HOP_BY_HOP.has(name) || OWN_REQUEST_FIELDS.has(name) || named.has(name)) continue
    if (name.startsWith('proxy-')) continue
    result[name] = value
  }
  return result
}

/**
 * The fields of an origin's response that a client gets, after `opening`, whose fields take precedence over the
 * origin's: like nginx, we show one server, whatever is behind it.
 */
export function forwardedResponseHeaders(
  headers: IncomingHttpHeaders,
  opening: ResponseHeaders,
): ResponseHeaders {
  const named = connectionOptions(headers.connection)
  const result: Record<string, string | readonly string[]> = { ...opening }
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || HOP_BY_HOP.has(name) || named.has(name) || name in opening) continue
    result[name] = value
  }
  return result
}

/**
 * Reduces a redirect of an origin to itself to its path: origins behind a proxy tend to name the port that they listen
 * on, which clients cannot reach. `host` is the host the origin was asked for. Other values stay as they are.
 */
export function publicLocation(
  location: string,
  host: string,
  origin: { readonly protocol: string; readonly authority: string; readonly port: number },
): string {
  const match = /^(https?:)\/\/([^/?#]*)(?=[/?#]|$)/i.exec(location)
  if (match === null) return location
  const [start, protocol = '', authority = ''] = match
  const name = host.replace(/:\d+$/, '')
  const own = authority === origin.authority || authority === `${name}:${origin.port}`
  if (!own || protocol.toLowerCase() !== origin.protocol) return location
  const path = location.slice(start.length)
  return path.startsWith('/') ? path : `/${path}`
}

/**
 * Field names that `Connection` declares to be for this hop only. Fields that frame or address a message are not among
 * them.
 */
function connectionOptions(value: string | undefined): ReadonlySet<string> {
  if (value === undefined) return NONE
  const names = value.split(',').map((name) => name.trim().toLowerCase())
  return new Set(names.filter((name) => name !== 'content-length' && name !== 'host'))
}

const NONE: ReadonlySet<string> = new Set()

/** What `http.request` throws for a method, a path or a field that does not fit into a head (lib/_http_client.js). */
const INVALID_HEAD: ReadonlySet<unknown> = new Set([
  'ERR_INVALID_HTTP_TOKEN',
  'ERR_UNESCAPED_CHARACTERS',
  'ERR_INVALID_CHAR',
])

/** Whether `thrown` says that a head cannot be sent as HTTP. */
export function isInvalidHead(thrown: unknown): boolean {
  return thrown instanceof Error && 'code' in thrown && INVALID_HEAD.has(thrown.code)
}
