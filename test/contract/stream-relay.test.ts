/** The relay between TCP and TCP, and between an HTTP/2 CONNECT stream and TCP; both ways without a Duplex, too. */
import { once } from 'node:events'
import http2 from 'node:http2'
import type { ClientHttp2Stream, ServerHttp2Stream } from 'node:http2'
import net from 'node:net'
import type { AddressInfo, OnReadOpts, Socket } from 'node:net'
import type { StreamEnd, StreamReset, TcpEnd } from '../../src/contract/stream-end.ts'
import { ReadPool } from '../../src/relay/read-pool.ts'
import { SocketEnd } from '../../src/relay/tcp-end.ts'
import { describeRelay, whenClosed, type RelayPair } from './relay.contract.ts'
import { DuplexTunnelStream } from '../support/duplex-tunnel-stream.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'

const { NGHTTP2_CANCEL, NGHTTP2_CONNECT_ERROR, NGHTTP2_NO_ERROR } = http2.constants
const RESET_NAMES: Record<number, string> = {
  [NGHTTP2_CANCEL]: 'cancel',
  [NGHTTP2_CONNECT_ERROR]: 'connect_error',
}

/** Two ends of one TCP connection on loopback. */
async function openTcp(onread?: OnReadOpts): Promise<[Socket, Socket]> {
  const server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const near = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, onread })
  const [far] = await accepted
  if (near.connecting) await once(near, 'connect')
  server.close()
  for (const socket of [near, far]) socket.on('error', () => {})
  return [near, far]
}

const pool = new ReadPool()

/** The two ends as the relay gets them: with a Duplex, or without. */
interface NearEnds {
  readonly clientEnd: StreamEnd
  readonly targetEnd: TcpEnd
  readonly stream?: DuplexTunnelStream
}

function nearEnds(client: StreamEnd, target: Socket, direct: boolean): NearEnds {
  if (!direct) return { clientEnd: client, targetEnd: new SocketEnd(target) }
  const stream = new DuplexTunnelStream(client)
  const reset = (): void => void stream.complaints.push('reset past the stream')
  return { clientEnd: { io: client.io, direct: stream, reset }, targetEnd: pool.endOf(target), stream }
}

async function openTcpPair(direct: boolean): Promise<RelayPair> {
  const [targetNear, target] = await openTcp(pool.onread)
  const [clientNear, client] = await openTcp()
  let word = ''
  const clientEnd: StreamEnd = {
    io: clientNear,
    reset: (reason) => {
      word = reason
      new SocketEnd(clientNear).reset()
    },
  }
  return {
    ...nearEnds(clientEnd, targetNear, direct),
    client,
    target,
    resetClient: () => client.resetAndDestroy(),
    clientWasReset: async () => {
      client.resume()
      await once(client, 'error')
      return word
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of [client, target, clientNear, targetNear]) socket.destroy()
    },
  }
}

async function openHttp2Pair(direct: boolean): Promise<RelayPair> {
  const [targetNear, target] = await openTcp(pool.onread)
  const server = http2.createServer({ settings: { initialWindowSize: 131_072 } })
  server.on('session', (session) => session.setLocalWindowSize(8_388_608))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const session = http2.connect(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  const arrived = once(server, 'stream') as Promise<[ServerHttp2Stream]>
  const client: ClientHttp2Stream = session.request(
    { ':method': 'CONNECT', ':authority': 'target:1' },
    { endStream: false },
  )
  client.on('error', () => {})
  const [near] = await arrived
  near.on('error', () => {})
  near.respond({ ':status': 200 })
  await once(client, 'response')
  const codes: Partial<Record<StreamReset, number>> = {
    cancel: NGHTTP2_CANCEL,
    connect_error: NGHTTP2_CONNECT_ERROR,
  }
  const reset = (reason: StreamReset): void => {
    // `close` ends the writable side, and that END_STREAM would go out in front of RST_STREAM.
    if (!near.closed && !near.writableEnded) near.end = () => near
    near.close(codes[reason] ?? NGHTTP2_CANCEL)
  }
  const clientEnd: StreamEnd = {
    io: near,
    get wasReset() {
      return near.rstCode !== NGHTTP2_NO_ERROR
    },
    reset,
  }
  return {
    ...nearEnds(clientEnd, targetNear, direct),
    client,
    target,
    resetClient: () => {
      // RST_STREAM waits until the stream is read.
      client.resume()
      client.close(NGHTTP2_CANCEL)
    },
    ownListeners: { end: 1, finish: 1 },
    clientWasReset: async () => {
      client.resume()
      if (!client.destroyed) await whenClosed(client)
      return RESET_NAMES[client.rstCode ?? NGHTTP2_NO_ERROR] ?? `code ${client.rstCode}`
    },
    leave: () => {
      client.resume()
      client.end()
      client.close(NGHTTP2_NO_ERROR)
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of [target, targetNear]) socket.destroy()
      session.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

for (const direct of [false, true]) {
  const how = direct ? ' without a Duplex' : ''
  describeRelay(`TCP and TCP${how}`, { canLeave: false }, () => openTcpPair(direct))
  describeRelay(`HTTP/2 and TCP${how}`, { canLeave: true }, () => openHttp2Pair(direct))
}

expectNothingLeftOpen()
