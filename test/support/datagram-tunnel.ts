/** A forwarder's stream without a transport: two connected duplex streams and a context for it to run in. */
import { duplexPair, type Duplex } from 'node:stream'
import type { StreamEnd, StreamReset } from '../../src/contract/stream-end.ts'
import type { Forwarder, TunnelContext, TunnelEnd } from '../../src/contract/forwarder.ts'
import { openTunnel } from './opened-tunnel.ts'

export interface DatagramTunnel {
  /** The client's side. */
  readonly client: Duplex
  /** The endpoint's side, whose writes a test may want to observe. */
  readonly endpoint: Duplex
  readonly resets: readonly StreamReset[]
  readonly abort: AbortController
  readonly ended: Promise<TunnelEnd>
}

export interface DatagramTunnelOptions {
  readonly user?: string
  /** Bytes that each direction of the pair buffers before it asks the writer to wait. */
  readonly highWaterMark?: number
  readonly log?: TunnelContext['log']
  readonly privacy?: TunnelContext['privacy']
}

export async function openDatagramTunnel(
  forwarder: Forwarder<undefined>,
  options: DatagramTunnelOptions = {},
): Promise<DatagramTunnel> {
  const abort = new AbortController()
  const [endpoint, client] = duplexPair(
    options.highWaterMark === undefined ? {} : { highWaterMark: options.highWaterMark },
  )
  const resets: StreamReset[] = []
  const stream: StreamEnd = {
    io: endpoint,
    wasReset: false,
    reset: (reason) => {
      resets.push(reason)
      endpoint.destroy()
    },
  }
  const { run } = await openTunnel(forwarder, undefined, { ...options, signal: abort.signal })
  client.on('error', () => {})
  return { client, endpoint, resets, abort, ended: run(stream) }
}
