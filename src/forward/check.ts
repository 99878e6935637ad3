/** Health checks, `_check` (specification section 8): a 200 that ends the stream is the whole answer. */
import type { Forwarder, OpenTunnel, TunnelEnd } from '../contract/forwarder.ts'
import type { StreamEnd } from '../contract/stream-end.ts'

const CHECK_TUNNEL: OpenTunnel = {
  endsAtOnce: true,
  run: (stream: StreamEnd): Promise<TunnelEnd> => {
    stream.io.resume().end()
    return Promise.resolve({ reason: 'ended', uplinkBytes: 0, downlinkBytes: 0 })
  },
  destroy: () => {},
}

export class CheckForwarder implements Forwarder<undefined> {
  open(): Promise<OpenTunnel> {
    return Promise.resolve(CHECK_TUNNEL)
  }
}
