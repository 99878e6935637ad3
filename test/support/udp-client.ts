/** A `_udp2` stream, seen from the client's side. */
import type { ClientHttp2Stream } from 'node:http2'
import { encodeAddressing, encodeUdpUplink, UdpDownlinkDecoder } from '../../src/wire/udp-frame.ts'
import type { DownlinkDatagram } from '../../src/wire/udp-frame.ts'
import type { H2Client } from './h2-client.ts'

export interface UdpAddress {
  readonly address: string
  readonly port: number
}

export const SOURCE: UdpAddress = { address: '10.0.0.2', port: 5000 }

/** One frame from {@link SOURCE}, or from `source`. */
export function udpFrame(
  target: UdpAddress,
  payload: string | Buffer,
  options: { source?: UdpAddress; appName?: string } = {},
): Buffer {
  const { source = SOURCE, appName } = options
  return encodeUdpUplink(encodeAddressing(source, target), Buffer.from(payload), appName)
}

export class UdpClient {
  readonly stream: ClientHttp2Stream
  /** All replies so far. */
  readonly replies: DownlinkDatagram[] = []
  #taken = 0
  #waiting: (() => void) | undefined

  constructor(stream: ClientHttp2Stream) {
    this.stream = stream
    const decoder = new UdpDownlinkDecoder((datagram) => this.replies.push(datagram))
    stream.on('data', (chunk: Buffer) => {
      decoder.push(chunk)
      this.#waiting?.()
    })
    stream.once('close', () => this.#waiting?.())
  }

  /** Rejects when the answer is not 200. */
  static async open(client: H2Client, authority = '_udp2'): Promise<UdpClient> {
    const { status, stream } = await client.connect(authority)
    if (status !== 200) throw new Error(`${authority} was answered with ${status}`)
    return new UdpClient(stream)
  }

  send(...args: Parameters<typeof udpFrame>): void {
    this.stream.write(udpFrame(...args))
  }

  /** The next reply that was not taken yet. Rejects when the stream closes first. */
  async next(): Promise<DownlinkDatagram> {
    for (;;) {
      const reply = this.replies[this.#taken]
      if (reply !== undefined) {
        this.#taken += 1
        return reply
      }
      if (this.stream.closed) throw new Error(`closed with ${this.stream.rstCode}`)
      await new Promise<void>((resolve) => (this.#waiting = resolve))
    }
  }

  /** Sends and waits for the answer. */
  async ask(...args: Parameters<typeof udpFrame>): Promise<DownlinkDatagram> {
    this.send(...args)
    return this.next()
  }
}
