/** HTTP/1.1: one TLS connection per tunnel (specification 3.3). */
import { connect, type TLSSocket } from 'node:tls'
import {
  tlsOptions,
  type EndpointAccess,
  type Tunnel,
  type TunnelClient,
  type TunnelListener,
} from './tunnel-client.ts'

const HEAD_END = '\r\n\r\n'
const MAX_HEAD_BYTES = 4096

export class Http1Client implements TunnelClient {
  readonly #access: EndpointAccess
  readonly #tunnels = new Set<Http1Tunnel>()

  constructor(access: EndpointAccess) {
    this.#access = access
  }

  open(authority: string, listener: TunnelListener): Tunnel {
    const tunnel = new Http1Tunnel(this.#access, authority, listener)
    this.#tunnels.add(tunnel)
    tunnel.socket.once('close', () => this.#tunnels.delete(tunnel))
    return tunnel
  }

  destroy(): void {
    for (const tunnel of this.#tunnels) tunnel.socket.destroy()
  }
}

class Http1Tunnel implements Tunnel {
  readonly socket: TLSSocket
  readonly #listener: TunnelListener
  #head = ''
  #error: Error | undefined

  constructor(access: EndpointAccess, authority: string, listener: TunnelListener) {
    this.#listener = listener
    this.socket = connect(tlsOptions(access, 'http/1.1'))
    this.socket.write(
      `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nUser-Agent: Linux bench\r\n` +
        `Proxy-Authorization: ${access.authorization}${HEAD_END}`,
    )
    this.socket.on('data', this.#onHead)
    this.socket.on('drain', () => listener.onDrain?.())
    this.socket.once('end', () => listener.onEnd?.())
    this.socket.on('error', (error) => {
      this.#error = error
    })
    this.socket.once('close', () => listener.onClose?.(this.#error))
  }

  write(chunk: Buffer): boolean {
    return this.socket.write(chunk)
  }

  end(): void {
    this.socket.end()
  }

  readonly #onHead = (chunk: Buffer): void => {
    this.#head += chunk.toString('latin1')
    const end = this.#head.indexOf(HEAD_END)
    if (end < 0) {
      if (this.#head.length > MAX_HEAD_BYTES) this.socket.destroy(new Error('answer without an end'))
      return
    }
    if (!/^HTTP\/1\.[01] 200 /.test(this.#head)) {
      this.socket.destroy(new Error(`answer ${this.#head.slice(0, this.#head.indexOf('\r\n'))}`))
      return
    }
    this.socket.off('data', this.#onHead)
    this.socket.on('data', (data: Buffer) => this.#listener.onData?.(data))
    this.#listener.onOpen?.()
    const rest = this.#head.length - end - HEAD_END.length
    if (rest > 0) this.#listener.onData?.(chunk.subarray(chunk.length - rest))
  }
}
