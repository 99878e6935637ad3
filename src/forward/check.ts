/** Health checks, `_check` (specification section 8): a 200 that ends the stream is the whole answer. */
import type { StreamEnd } from '../contract/stream-end.ts'
import type { Forwarder, OpenTunnel, TunnelContext } from '../contract/forwarder.ts'

class CheckTunnel implements OpenTunnel {
  readonly endsAtOnce = true
  readonly #context: TunnelContext

  constructor(context: TunnelContext) {
    this.#context = context
  }

  run(stream: StreamEnd): void {
    stream.io.resume().end()
    this.#context.onEnd({ reason: 'ended', uplinkBytes: 0, downlinkBytes: 0 })
  }

  destroy(): void {}
}

export class CheckForwarder implements Forwarder<undefined> {
  open(_target: undefined, context: TunnelContext): void {
    context.onOpen(new CheckTunnel(context))
  }
}
