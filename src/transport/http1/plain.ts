/** An ordinary HTTP/1.1 request and its response as an exchange. */
import type { Readable } from 'node:stream'
import type { PlainExchange, RequestScheme, ResponseHeaders } from '../../contract/exchange.ts'
import type { StreamEnd } from '../../contract/stream-end.ts'
import { parseScheme } from '../../wire/authority.ts'
import type { SoundHead } from '../../wire/http1/head.ts'
import { Http1Exchange } from './exchange.ts'
import type { ExchangeSession } from './exchange.ts'
import type { RequestContent } from './request-content.ts'

export class Http1PlainExchange extends Http1Exchange implements PlainExchange {
  readonly kind = 'plain'
  readonly method: string
  readonly scheme: RequestScheme | undefined
  readonly authority: string
  readonly path: string
  readonly upgrade: PlainExchange['upgrade']
  readonly #content: RequestContent
  #expectsContinue: boolean
  #leaving: AbortController | undefined

  constructor(session: ExchangeSession, head: SoundHead, content: RequestContent) {
    super(session, head)
    const { target, headers, minor } = head
    this.method = head.method
    this.scheme = parseScheme(target.scheme)
    // That of the target takes precedence over Host (RFC 9112 section 3.2.2).
    this.authority = target.authority ?? headers['host'] ?? ''
    this.path = target.path
    this.#content = content
    this.upgrade = this.#offersUpgrade(head) ? (fields) => this.#upgrade(fields) : undefined
    this.#expectsContinue = minor === 1 && /^100-continue$/i.test(headers['expect'] ?? '')
  }

  /** A request with content has that in the place where another protocol would begin. */
  #offersUpgrade({ target, headers, minor, content }: SoundHead): boolean {
    const { upgrade, connection = '' } = headers
    if (upgrade === undefined || minor !== 1 || content.kind !== 'none') return false
    if (!/(?:^|,)[ \t]*upgrade[ \t]*(?:,|$)/i.test(connection)) return false
    return this.session.style.mayUpgrade(this.channel, target.path, upgrade)
  }

  /** Reading the content invites the client to send it (RFC 9110 section 10.1.1). */
  body(): Readable {
    if (this.#expectsContinue && !this.answered) this.session.writeHead('HTTP/1.1 100 Continue\r\n\r\n')
    this.#expectsContinue = false
    return this.#content.body
  }

  leaving(): AbortSignal {
    this.#leaving ??= new AbortController()
    if (this.session.clientEnded) this.#leaving.abort()
    return this.#leaving.signal
  }

  override onClientEnd(): void {
    this.#leaving?.abort()
  }

  #upgrade(headers: ResponseHeaders): StreamEnd {
    this.writeHead(1, 101, headers, 'upgrade', 'Switching Protocols')
    return this.session.becomeTunnel()
  }
}
