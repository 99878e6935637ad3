/** The relay between a tunnel over HTTP/1.1, with TLS as it is, and TCP: with a Duplex, and without. */
import { once } from 'node:events'
import { connect as connectTcp, createServer } from 'node:net'
import type { AddressInfo, OnReadOpts, Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Exchange } from '../../src/contract/exchange.ts'
import type { StreamEnd } from '../../src/contract/stream-end.ts'
import { ReadPool } from '../../src/relay/read-pool.ts'
import { SocketEnd } from '../../src/relay/tcp-end.ts'
import type { Http1Session } from '../../src/transport/http1/session.ts'
import { connectOf } from '../support/exchange-kind.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readNext } from '../support/tls-client.ts'
import { startTlsTransport } from '../support/tls-transport.ts'
import { describeRelay, whenClosed, type RelayPair } from './relay.contract.ts'

const ANSWER = 'HTTP/1.1 200 Connection established\r\nConnection: close\r\n\r\n'

const pool = new ReadPool()

async function openTarget(onread: OnReadOpts): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const near = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true, onread })
  const [far] = await accepted
  if (near.connecting) await once(near, 'connect')
  server.close()
  for (const socket of [near, far]) socket.on('error', () => {})
  return [near, far]
}

async function openPair(direct: boolean): Promise<RelayPair> {
  const [targetNear, target] = await openTarget(pool.onread)
  const asked = Promise.withResolvers<Exchange>()
  const transport = await startTlsTransport('http/1.1', () => ({
    onExchange: asked.resolve,
    onClose: () => {},
  }))
  const raw = connectTcp({ port: transport.port, host: '127.0.0.1', allowHalfOpen: true })
  const client = connectTls({ socket: raw, rejectUnauthorized: false })
  for (const socket of [raw, client]) socket.on('error', () => {})
  client.write('CONNECT target:1 HTTP/1.1\r\n\r\n')
  const exchange = connectOf(await asked.promise)
  const tunnel = exchange.accept()
  await readNext(client, ANSWER.length)
  let word = ''
  const reset = tunnel.reset.bind(tunnel)
  tunnel.reset = (reason) => {
    word ||= reason
    reset(reason)
  }
  // Looking at the tunnel's Duplex would start it.
  const io = direct ? (exchange.session as Http1Session).socket : tunnel.io
  const clientEnd: StreamEnd = {
    io,
    get wasReset() {
      return tunnel.wasReset === true
    },
    ...(direct && tunnel.direct ? { direct: tunnel.direct } : {}),
    reset: (reason) => tunnel.reset(reason),
  }
  return {
    clientEnd,
    ...(direct ? { stream: { cancel: () => exchange.cancel(), complaints: [] } } : {}),
    targetEnd: direct ? pool.endOf(targetNear) : new SocketEnd(targetNear),
    client,
    target,
    resetClient: () => raw.resetAndDestroy(),
    clientWasReset: async () => {
      client.resume()
      if (!client.closed) await whenClosed(client)
      return word
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of [client, raw, target, targetNear]) socket.destroy()
      await transport[Symbol.asyncDispose]()
    },
  }
}

for (const direct of [false, true]) {
  const how = direct ? ' without a Duplex' : ''
  describeRelay(`HTTP/1.1 and TCP${how}`, { canLeave: false }, () => openPair(direct))
}

expectNothingLeftOpen()
