/** The relay between TCP and TCP, and between an HTTP/2 CONNECT stream and TCP. */
import { once } from 'node:events'
import http2 from 'node:http2'
import type { ClientHttp2Stream, ServerHttp2Stream } from 'node:http2'
import net from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { StreamReset } from '../../src/contract/stream-end.ts'
import { SocketEnd } from '../../src/relay/tcp-end.ts'
import { describeRelay, whenClosed, type RelayPair } from './relay.contract.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'

const { NGHTTP2_CANCEL, NGHTTP2_CONNECT_ERROR, NGHTTP2_NO_ERROR } = http2.constants
const RESET_NAMES: Record<number, string> = {
  [NGHTTP2_CANCEL]: 'cancel',
  [NGHTTP2_CONNECT_ERROR]: 'connect_error',
}

/** Two ends of one TCP connection on loopback. */
async function openTcp(): Promise<[Socket, Socket]> {
  const server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const near = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const [far] = await accepted
  if (near.connecting) await once(near, 'connect')
  server.close()
  for (const socket of [near, far]) socket.on('error', () => {})
  return [near, far]
}

describeRelay('TCP and TCP', { canLeave: false }, async (): Promise<RelayPair> => {
  const [targetNear, target] = await openTcp()
  const [clientNear, client] = await openTcp()
  let word = ''
  return {
    client,
    target,
    clientEnd: {
      io: clientNear,
      reset: (reason) => {
        word = reason
        new SocketEnd(clientNear).reset()
      },
    },
    targetEnd: new SocketEnd(targetNear),
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
})

describeRelay('HTTP/2 and TCP', { canLeave: true }, async (): Promise<RelayPair> => {
  const [targetNear, target] = await openTcp()
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
  return {
    client,
    target,
    clientEnd: {
      io: near,
      get wasReset() {
        return near.rstCode !== NGHTTP2_NO_ERROR
      },
      reset,
    },
    targetEnd: new SocketEnd(targetNear),
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
})

expectNothingLeftOpen()
