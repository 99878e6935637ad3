/** The web service behind the real HTTP/1.1 and HTTP/2 transports, without gate and tunnel. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { systemClock } from '../../src/clock.ts'
import { Counters } from '../../src/counters.ts'
import { HTTP1_OPTIONS } from '../../src/lane/options.ts'
import { nginxStyle } from '../../src/web/nginx/answer-head.ts'
import { Http1Transport } from '../../src/transport/http1/transport.ts'
import { Http2Transport } from '../../src/transport/http2/transport.ts'
import { SlabPool } from '../../src/transport/slab-pool.ts'
import { HTTP2_OPTIONS } from './http2-options.ts'
import { TlsTerminator } from '../../src/transport/tls.ts'
import type { TcpProtocol } from '../../src/transport/tls.ts'
import type { Exchange } from '../../src/contract/exchange.ts'
import type { Channel, Session } from '../../src/contract/session.ts'
import type { SessionListener } from '../../src/contract/session-listener.ts'
import { testCertificate } from './certificate.ts'

export interface WebHarness extends AsyncDisposable {
  /** Speaks HTTP/1.1 only. */
  readonly http1Port: number
  /** Speaks HTTP/2 only. */
  readonly http2Port: number
  readonly counters: Counters
  readonly sessions: ReadonlySet<Session>
}

export async function startWebHarness(
  handle: (request: Exchange) => void,
  channel: Channel = 'main',
): Promise<WebHarness> {
  const clock = systemClock
  const counters = new Counters()
  const sessions = new Set<Session>()
  const acceptSession = (session: Session): SessionListener => {
    sessions.add(session)
    return { onExchange: handle, onClose: () => void sessions.delete(session) }
  }
  const style = { ...nginxStyle, mayUpgrade: () => true }
  const deps = { clock, counters, acceptSession }
  const http1 = new Http1Transport(HTTP1_OPTIONS, { ...deps, style, slabs: new SlabPool() })
  const http2 = new Http2Transport(HTTP2_OPTIONS, { ...deps, slabs: new SlabPool() })
  const tls = new TlsTerminator(
    { protocolsOf: () => ['h2', 'http/1.1'], handshakeTimeoutMs: 10_000, ticketKeys: randomBytes(48) },
    { clock, counters, onHttp1: (connection) => http1.accept(connection), onHttp2: (c) => http2.accept(c) },
  )
  const certificate = tls.createCertificate(testCertificate())
  const host = { channel, hostname: 'localhost', allowedSni: [], certificate }
  const sockets = new Set<Socket>()

  const listen = async (protocol: TcpProtocol): Promise<{ port: number; close(): void }> => {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => sockets.delete(socket))
      const remote = { remoteAddress: socket.remoteAddress ?? '', remotePort: socket.remotePort ?? 0 }
      const known = { serverName: 'localhost', alpn: [protocol], channel, host }
      tls.accept({ socket, ...remote, ...known, handshakeDone: () => {} })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return { port: (server.address() as AddressInfo).port, close: () => server.close() }
  }
  const listeners = [await listen('http/1.1'), await listen('h2')] as const
  return {
    http1Port: listeners[0].port,
    http2Port: listeners[1].port,
    counters,
    sessions,
    [Symbol.asyncDispose]: async () => {
      for (const listener of listeners) listener.close()
      for (const socket of sockets) socket.destroy()
      http2.destroy()
      const open = [...sockets].filter((socket) => !socket.closed)
      await Promise.all(open.map((socket) => once(socket, 'close')))
    },
  }
}
