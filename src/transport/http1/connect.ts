/** A CONNECT over HTTP/1.1 as an exchange (RFC 9110 section 9.3.6; `docs/protocol.md`, "HTTP/1.1"). */
import type { ConnectExchange, ResponseHeaders } from '../../contract/exchange.ts'
import type { StreamEnd } from '../../contract/stream-end.ts'
import type { SoundHead } from '../../wire/http1/head.ts'
import type { RequestTarget } from '../../wire/http1/request-line.ts'
import { pickFields } from '../kept-fields.ts'
import { Http1Exchange } from './exchange.ts'
import type { ExchangeSession } from './exchange.ts'

export class Http1Connect extends Http1Exchange implements ConnectExchange {
  readonly kind = 'connect'
  readonly method = 'CONNECT'
  readonly authority: string

  constructor(session: ExchangeSession, head: SoundHead) {
    super(session, head)
    this.authority = authorityOf(head.target) ?? head.headers['host'] ?? ''
  }

  keepFields(...names: readonly string[]): void {
    this.head = pickFields(this.head, names)
  }

  accept(headers: ResponseHeaders = {}, { endStream = false } = {}): StreamEnd {
    // 2xx answers to CONNECT carry no content-length (RFC 9110 section 9.3.6); the close ends them.
    this.writeHead(this.minor === 0 ? 0 : 1, 200, headers, 'close', 'Connection established')
    const tunnel = this.session.becomeTunnel()
    if (endStream) this.session.endTunnel()
    return tunnel
  }
}

/** Authority-form or absolute-form (`https://host:443/`); undefined in origin-form, where Host counts. */
function authorityOf({ authority }: RequestTarget): string | undefined {
  const scheme = authority?.indexOf('://') ?? -1
  if (authority === undefined || scheme < 0) return authority
  const rest = authority.slice(scheme + 3)
  const end = rest.search(/[/?#]/)
  return end < 0 ? rest : rest.slice(0, end)
}
