/**
 * A plain request that its origin gets as a CONNECT. Everything after the origin's head, whatever its status, is the
 * content of the answer, and what the client sends goes to the origin as it arrives.
 */
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { OriginRequest, ignoreError } from './origin-request.ts'

export class ConnectRequest extends OriginRequest {
  protected override readonly method = 'CONNECT'
  protected override readonly repeatable = true

  protected override async prepare(): Promise<void> {}

  protected override modeHeaders(): Record<string, string> {
    return {}
  }

  protected override onOpen(outgoing: ClientRequest): void {
    outgoing.on('connect', this.guarded(this.#onConnect))
    outgoing.end()
  }

  readonly #onConnect = (response: IncomingMessage, socket: Socket, head: Buffer): void => {
    socket.on('error', ignoreError)
    if (this.finished) return void socket.destroy()
    const headers = this.headersFor(response)
    if (headers === undefined) return this.fail('origin', 502)
    const sink = this.respond(response.statusCode ?? 502, headers)
    if (sink === undefined) return
    if (head.length > 0) socket.unshift(head)
    this.flow.startUplink(socket)
    this.flow.startDownlink(socket, sink, { isWhole: () => !this.originFailed })
  }
}
