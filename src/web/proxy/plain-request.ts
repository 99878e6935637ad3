/** A plain request: the origin gets it framed for HTTP/1.1 and answers with a response, whose content is handed on. */
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { OriginRequest, ignoreError } from './origin-request.ts'
import { requestContent } from './request-content.ts'
import type { RequestContent } from './request-content.ts'

export class PlainRequest extends OriginRequest {
  #content: RequestContent = { kind: 'none' }

  protected override get method(): string {
    return this.exchange.method
  }

  protected override get repeatable(): boolean {
    return this.#content.kind === 'none'
  }

  protected override async prepare(): Promise<void> {
    const content = await requestContent(this.exchange, this.owner.clock)
    if (content === undefined) this.fail('bad_request', 400)
    else this.#content = content
  }

  protected override modeHeaders(): Record<string, string> {
    switch (this.#content.kind) {
      case 'sized':
        return { 'content-length': String(this.#content.bytes) }
      case 'chunked':
        return { 'transfer-encoding': 'chunked' }
      case 'none':
        return /^(?:POST|PUT|PATCH)$/.test(this.method) ? { 'content-length': '0' } : {}
    }
  }

  protected override onOpen(outgoing: ClientRequest): void {
    outgoing.on('response', this.guarded(this.#onResponse))
    outgoing.on('upgrade', this.guarded(this.#onUpgrade))
    if (this.#content.kind === 'none') {
      outgoing.end()
      return this.onNoContent()
    }
    // Do not wait for the first content: the origin may answer as soon as it has the head.
    outgoing.flushHeaders()
    const limitBytes = this.#content.kind === 'sized' ? this.#content.bytes : undefined
    this.flow.startUplink(outgoing, { limitBytes })
  }

  /** Takes the end of the client's stream, which may come late. */
  protected onNoContent(): void {
    this.exchange.body().resume()
  }

  readonly #onResponse = (response: IncomingMessage): void => {
    if (this.finished) return void response.destroy()
    const headers = this.headersFor(response)
    if (headers === undefined) return this.fail('origin', 502)
    const status = response.statusCode ?? 502
    const bodyless = this.exchange.method === 'HEAD' || status === 204 || status === 304
    const sink = this.respond(status, headers, { endStream: bodyless })
    if (sink === undefined) return
    if (bodyless) {
      response.resume()
      return this.flow.skipDownlink()
    }
    this.flow.startDownlink(response, sink, { isWhole: () => isFramed(response) || !this.originFailed })
    if (status >= 400 && closes(response)) this.flow.cutUplink()
  }

  readonly #onUpgrade = (response: IncomingMessage, socket: Socket, head: Buffer): void => {
    socket.on('error', ignoreError)
    this.onSwitching(response, socket, head)
  }

  /** The origin has left HTTP. Nobody asked it to. */
  protected onSwitching(_response: IncomingMessage, socket: Socket, _head: Buffer): void {
    socket.destroy()
    this.fail('upgrade', 502)
  }
}

/** Whether its end can be told from a broken connection. */
function isFramed({ headers }: IncomingMessage): boolean {
  return 'content-length' in headers || 'transfer-encoding' in headers
}

/** Whether the origin will read no more of the request (RFC 9112 section 9.5). */
function closes({ headers }: IncomingMessage): boolean {
  return /(?:^|,)\s*close\s*(?:,|$)/i.test(headers.connection ?? '')
}
