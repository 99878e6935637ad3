/** A transport over TLS on a real port, without the gate: every connection speaks the one given protocol. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { systemClock } from '../../src/clock.ts'
import type { Clock } from '../../src/clock.ts'
import { Counters } from '../../src/counters.ts'
import { HTTP1_OPTIONS } from '../../src/lane/options.ts'
import { nginxStyle } from '../../src/web/nginx/answer-head.ts'
import { Http1Transport } from '../../src/transport/http1/transport.ts'
import { Http2Transport } from '../../src/transport/http2/transport.ts'
import { SlabPool } from '../../src/transport/slab-pool.ts'
import { TlsTerminator } from '../../src/transport/tls.ts'
import type { TcpProtocol } from '../../src/transport/tls.ts'
import type { AcceptSession } from '../../src/contract/session-listener.ts'
import { testCertificate } from './certificate.ts'
import { HTTP2_OPTIONS } from './http2-options.ts'

export interface TlsTransport extends AsyncDisposable {
  readonly port: number
}

export async function startTlsTransport(
  protocol: TcpProtocol,
  acceptSession: AcceptSession,
  clock: Clock = systemClock,
): Promise<TlsTransport> {
  const deps = { clock, counters: new Counters(), acceptSession }
  const style = { ...nginxStyle, mayUpgrade: () => true }
  const http1 = new Http1Transport(HTTP1_OPTIONS, { ...deps, style, slabs: new SlabPool() })
  const http2 = new Http2Transport(HTTP2_OPTIONS, { ...deps, slabs: new SlabPool() })
  const tls = new TlsTerminator(
    { protocolsOf: () => [protocol], handshakeTimeoutMs: 10_000, ticketKeys: randomBytes(48) },
    {
      ...deps,
      onHttp1: (connection) => http1.accept(connection),
      onHttp2: (connection) => http2.accept(connection),
    },
  )
  const certificate = tls.createCertificate(testCertificate())
  const host = { channel: 'main', hostname: 'vpn.endpoint', allowedSni: [], certificate } as const
  const sockets = new Set<Socket>()
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
    tls.accept({
      socket,
      remoteAddress: socket.remoteAddress ?? '',
      remotePort: socket.remotePort ?? 0,
      serverName: 'vpn.endpoint',
      alpn: [protocol],
      channel: 'main',
      host,
      handshakeDone: () => {},
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
      http2.destroy()
    },
  }
}
