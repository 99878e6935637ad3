/**
 * The life of a stream that carries datagrams: it ends when the client ends it, when it is reset, or when the signal
 * fires, and whichever comes first is the reason. Shared by `_udp2` and `_icmp`.
 */
import type { Duplex } from 'node:stream'
import { faultFields } from '../log.ts'
import type { Log, Privacy } from '../log.ts'
import { EndpointError } from '../errors.ts'
import type { StreamEnd, StreamReset } from '../contract/stream-end.ts'
import type { TunnelContext, TunnelEndReason } from '../contract/forwarder.ts'

export interface StreamHandlers {
  /** May throw: an `EndpointError` is the client's fault, anything else is ours; both end the stream. */
  onData(chunk: Buffer): void
  /** The client has ended its side: write what is left and end the other. */
  onClientEnd(): void
  /** Called once: release everything. */
  onEnd(): void
}

export class StreamLifetime {
  readonly #stream: StreamEnd
  readonly #io: Duplex
  readonly #signal: AbortSignal
  readonly #log: Log
  readonly #privacy: Privacy
  readonly #handlers: StreamHandlers
  readonly #ended = Promise.withResolvers<TunnelEndReason>()
  #state: 'running' | 'ending' | 'ended' = 'running'

  constructor(
    stream: StreamEnd,
    context: Pick<TunnelContext, 'signal' | 'log' | 'privacy'>,
    handlers: StreamHandlers,
  ) {
    this.#stream = stream
    this.#io = stream.io
    this.#signal = context.signal
    this.#log = context.log
    this.#privacy = context.privacy
    this.#handlers = handlers
  }

  /** Reads the stream until it ends. Never rejects. */
  run(): Promise<TunnelEndReason> {
    this.#io.on('data', this.#onData)
    this.#io.once('end', this.#onClientEnd)
    this.#io.once('finish', this.#onFinish)
    this.#io.once('close', this.#onClose)
    // `close` follows, and that is what counts.
    this.#io.on('error', () => {})
    this.#signal.addEventListener('abort', this.#onAbort, { once: true })
    if (this.#signal.aborted) this.#onAbort()
    else if (this.#io.destroyed) this.#onClose()
    return this.#ended.promise
  }

  /** Ends both directions abruptly. */
  #reset(reset: StreamReset, reason: TunnelEndReason): void {
    if (this.#state === 'ended') return
    this.#end(reason)
    this.#stream.reset(reset)
  }

  readonly #onData = (chunk: Buffer): void => {
    try {
      this.#handlers.onData(chunk)
    } catch (error) {
      if (error instanceof EndpointError) {
        this.#log.debug({ code: error.code }, 'stream cannot be decoded')
        this.#reset('cancel', 'protocol_error')
      } else {
        this.#log.error(faultFields(this.#privacy, error), 'stream failed')
        this.#reset('internal_error', 'aborted')
      }
    }
  }

  readonly #onClientEnd = (): void => {
    if (this.#state !== 'running') return
    this.#state = 'ending'
    this.#handlers.onClientEnd()
  }

  readonly #onFinish = (): void => {
    if (this.#state === 'ending') this.#end('ended')
  }

  readonly #onClose = (): void => this.#end(this.#state === 'ending' ? 'ended' : 'client_reset')

  readonly #onAbort = (): void => this.#reset('cancel', 'aborted')

  /** The one teardown. */
  #end(reason: TunnelEndReason): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#signal.removeEventListener('abort', this.#onAbort)
    this.#io.off('data', this.#onData)
    this.#io.off('end', this.#onClientEnd)
    this.#io.off('finish', this.#onFinish)
    this.#io.off('close', this.#onClose)
    this.#handlers.onEnd()
    this.#ended.resolve(reason)
  }
}
