/**
 * A user-space UDP relay between clients and one server, both on loopback. It loses, delays or holds back datagrams,
 * and can change the port from which the server sees a client, as a NAT does that has forgotten the client.
 */
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { once } from 'node:events'

export type UdpDirection = 'up' | 'down'

export interface UdpRelayOptions {
  /** Share of the datagrams to lose in each direction, 0 to 1. */
  readonly loss?: number
  /** Added in each direction; the order is kept. */
  readonly delayMs?: number
  /** Decides what is lost; by default the same in every run. */
  readonly random?: () => number
}

const HOST = '127.0.0.1'
/** Room for what a fast sender has under way while the event loop is busy. */
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024

export class UdpRelay implements AsyncDisposable {
  readonly port: number
  readonly #front: Socket
  readonly #serverPort: number
  readonly #options: Required<UdpRelayOptions>
  /** The socket that the server sees, keyed by the client's port. */
  readonly #backs = new Map<number, Socket>()
  readonly #timers = new Set<NodeJS.Timeout>()
  /** Decides about each datagram: false drops it. */
  filter: ((direction: UdpDirection, datagram: Buffer) => boolean) | undefined
  /** Datagrams that were passed on. */
  readonly passed = { up: 0, down: 0 }

  private constructor(front: Socket, serverPort: number, options: UdpRelayOptions) {
    this.#front = front
    this.port = front.address().port
    this.#serverPort = serverPort
    this.#options = { loss: 0, delayMs: 0, random: createRandom(), ...options }
    front.on('message', (datagram, { port }) =>
      this.#pass('up', datagram, () => this.#backOf(port).send(datagram, this.#serverPort, HOST)),
    )
  }

  static async open(serverPort: number, options: UdpRelayOptions = {}): Promise<UdpRelay> {
    const front = createSocket({ type: 'udp4', recvBufferSize: SOCKET_BUFFER_BYTES })
    front.bind(0, HOST)
    await once(front, 'listening')
    return new UdpRelay(front, serverPort, options)
  }

  /** From now on the server sees every client on a new port; what arrives at the old ports is lost. */
  rebind(): void {
    for (const back of this.#backs.values()) back.close()
    this.#backs.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer)
    this.rebind()
    const closed = once(this.#front, 'close')
    this.#front.close()
    await closed
  }

  #backOf(clientPort: number): Socket {
    const known = this.#backs.get(clientPort)
    if (known !== undefined) return known
    const back = createSocket({ type: 'udp4', recvBufferSize: SOCKET_BUFFER_BYTES })
    // The server may be away; ICMP then reports that here.
    back.on('error', () => {})
    back.on('message', (datagram) =>
      this.#pass('down', datagram, () => this.#front.send(datagram, clientPort, HOST)),
    )
    this.#backs.set(clientPort, back)
    return back
  }

  #pass(direction: UdpDirection, datagram: Buffer, send: () => void): void {
    const { loss, delayMs, random } = this.#options
    if (this.filter?.(direction, datagram) === false || (loss > 0 && random() < loss)) return
    this.passed[direction]++
    if (delayMs === 0) return send()
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      send()
    }, delayMs)
    this.#timers.add(timer)
  }
}

/** Mulberry32: the same numbers in every run. */
function createRandom(seed = 0x9e3779b9): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
