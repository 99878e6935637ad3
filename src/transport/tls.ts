/**
 * TLS on a TCP connection that the gate has let through (specification 3.1). By then the server name and the ALPN offer
 * are known from the ClientHello, so each handshake gets its certificate and its one protocol without a callback.
 */
import { TLSSocket, createSecureContext } from 'node:tls'
import type { SecureContext } from 'node:tls'
import type { Socket } from 'node:net'
import { constants, randomBytes } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Counters } from '../counters.ts'
import type { GatedConnection } from '../contract/gated-connection.ts'
import type { Channel } from '../contract/session.ts'

/** A connection after its TLS handshake, ready for its HTTP version. */
export interface TransportConnection {
  readonly id: string
  readonly socket: TLSSocket
  /** The TCP socket below TLS, for what TLS cannot express: a reset. */
  readonly rawSocket: Socket
  readonly remoteAddress: string
  readonly remotePort: number
  readonly serverName: string | undefined
  readonly channel: Channel
}

export type TcpProtocol = 'h2' | 'http/1.1'

export interface Certificate {
  /** PEM chain, leaf first. */
  readonly cert: string
  /** PEM private key. */
  readonly key: string
}

export interface TlsTerminatorOptions {
  /** Protocols offered on each channel, best first. */
  protocolsOf(channel: Channel): readonly TcpProtocol[]
  handshakeTimeoutMs: number
  /** 48 bytes shared by all lanes: tickets stay valid across a change of certificate or of lane. */
  ticketKeys: Buffer
}

interface TlsTerminatorDependencies {
  clock: Clock
  counters: Counters
  onHttp1(connection: TransportConnection): void
  onHttp2(connection: TransportConnection): void
}

const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')
const KEY_EXCHANGE_GROUPS = 'X25519MLKEM768:X25519:P-256:P-384'

export class TlsTerminator {
  readonly #options: TlsTerminatorOptions
  readonly #deps: TlsTerminatorDependencies
  #sessions = 0
  readonly #idPrefix = randomBytes(3).toString('hex')

  constructor(options: TlsTerminatorOptions, deps: TlsTerminatorDependencies) {
    this.#options = options
    this.#deps = deps
  }

  /** The certificate that the handshakes of a host show. Throws when certificate and key cannot be used. */
  createCertificate({ cert, key }: Certificate): SecureContext {
    return createSecureContext({
      cert,
      key,
      minVersion: 'TLSv1.2',
      ciphers: CIPHERS,
      ecdhCurve: KEY_EXCHANGE_GROUPS,
      honorCipherOrder: false,
      ticketKeys: this.#options.ticketKeys,
      sessionIdContext: 'tunnel',
      // It costs a server far more than a client (CVE-2011-1473), and no client of ours asks for it; nginx forbids it
      // too.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    })
  }

  accept(connection: GatedConnection): void {
    const { socket: rawSocket, remoteAddress, remotePort, serverName, channel } = connection
    const protocol = this.#chooseProtocol(connection)
    if (protocol === undefined) {
      this.#deps.counters.count('tls_handshakes_failed', 'no_protocol')
      connection.handshakeDone()
      return void rawSocket.destroy()
    }
    const options = {
      isServer: true,
      secureContext: connection.host.certificate,
      ALPNProtocols: [protocol],
      // Paused, it reads no further; by default it goes on to 64 KiB, which a client may send in as many records. The
      // typings do not have it (nodejs/node lib/internal/tls/wrap.js, TLSSocket).
      highWaterMark: 1,
    }
    const socket = new TLSSocket(rawSocket, options)
    const deadline = this.#deps.clock.after(this.#options.handshakeTimeoutMs, () => {
      this.#deps.counters.count('tls_handshakes_failed', 'timeout')
      socket.destroy()
    })
    const onFailed = (error?: Error): void => {
      if (error) this.#deps.counters.count('tls_handshakes_failed', 'error')
      deadline.cancel()
      connection.handshakeDone()
    }
    const onClose = (): void => onFailed()
    // TCP is half-open here: the other half does not end on its own.
    const onEnd = (): void => {
      this.#deps.counters.count('tls_handshakes_failed', 'ended')
      socket.destroy()
    }
    socket.on('error', onFailed)
    socket.once('close', onClose)
    socket.once('end', onEnd)
    socket.once('secure', () => {
      socket.off('close', onClose)
      socket.off('end', onEnd)
      socket.off('error', onFailed)
      socket.on('error', ignoreError)
      deadline.cancel()
      connection.handshakeDone()
      markSecure(socket)
      const id = `${this.#idPrefix}-${(++this.#sessions).toString(36)}`
      const ready = { id, socket, rawSocket, remoteAddress, remotePort, serverName, channel }
      if (protocol === 'h2') this.#deps.onHttp2(ready)
      else this.#deps.onHttp1(ready)
    })
  }

  /**
   * The channel's best protocol among those that the client offers. Without an offer it is HTTP/1.1, or nothing where
   * that is off. If none matches, any will do: the handshake then ends with the alert no_application_protocol.
   */
  #chooseProtocol({ alpn, channel }: GatedConnection): TcpProtocol | undefined {
    const protocols = this.#options.protocolsOf(channel)
    if (alpn.length === 0) return protocols.find((protocol) => protocol === 'http/1.1')
    return protocols.find((protocol) => alpn.includes(protocol)) ?? protocols[0]
  }
}

function ignoreError(): void {}

/**
 * A TLSSocket created without a tls.Server never clears this flag, and would say for life that its handshake is under
 * way (nodejs/node lib/internal/tls/wrap.js, onServerSocketSecure).
 */
function markSecure(socket: TLSSocket): void {
  Object.assign(socket, { secureConnecting: false })
}
