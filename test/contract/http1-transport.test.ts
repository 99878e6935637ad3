/** The transport contract over HTTP/1.1: a connection per exchange. */
import { once } from 'node:events'
import https from 'node:https'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { connect as connectTcp } from 'node:net'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { connect } from 'node:tls'
import { expect, it } from 'vitest'
import type { Exchange } from '../../src/contract/exchange.ts'
import { connectOf, plainOf } from '../support/exchange-kind.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { startTlsTransport } from '../support/tls-transport.ts'
import { runTransportContract } from './transport.contract.ts'
import type { ContractExchange } from './transport.contract.ts'

const TLS = { host: '127.0.0.1', servername: 'vpn.endpoint', rejectUnauthorized: false, allowHalfOpen: true }

/** The clients' connections: half-open as they are, those that were left do not end by themselves. */
const sockets = new Set<Socket>()

/** A CONNECT written by hand: Node's own client gives up half-open connections. */
function openConnect(
  port: number,
  authority: string,
  headers: Record<string, string> = {},
): ContractExchange {
  const raw = connectTcp({ host: '127.0.0.1', port, allowHalfOpen: true })
  const socket = connect({ ...TLS, socket: raw })
  sockets.add(raw)
  raw.on('error', () => {})
  socket.on('error', () => {})
  const fields = Object.entries({ host: authority, ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  )
  const written = Promise.withResolvers<void>()
  const head = `CONNECT ${authority} HTTP/1.1\r\n${fields.join('')}\r\n`
  socket.write(head, () => written.resolve())
  return {
    answer: readHead(socket),
    stream: socket,
    // TCP RST below TLS. It is refused while a write is under way.
    reset: () => void written.promise.then(() => setImmediate(() => raw.resetAndDestroy())),
  }
}

/** Reads exactly the head, and leaves what follows in the socket. */
function readHead(socket: Duplex): ContractExchange['answer'] {
  const { promise, resolve, reject } = Promise.withResolvers<Awaited<ContractExchange['answer']>>()
  let head = ''
  const onReadable = (): void => {
    for (let byte = socket.read(1) as Buffer | null; byte !== null; byte = socket.read(1) as Buffer | null) {
      head += byte.toString('latin1')
      if (!head.endsWith('\r\n\r\n')) continue
      socket.off('readable', onReadable)
      return resolve(parseHead(head))
    }
  }
  socket.on('readable', onReadable)
  socket.once('close', () => reject(new Error('closed before an answer')))
  promise.catch(() => {})
  return promise
}

function parseHead(head: string): Awaited<ContractExchange['answer']> {
  const [statusLine = '', ...lines] = head.trimEnd().split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => [
      line.slice(0, line.indexOf(':')).toLowerCase(),
      line.slice(line.indexOf(':') + 1).trim(),
    ]),
  )
  return { status: Number(statusLine.split(' ')[1]), headers }
}

/** An ordinary request by Node's client as one duplex. */
function openRequest(
  port: number,
  method: string,
  path: string,
  headers: Record<string, string> = {},
): ContractExchange {
  const request = https.request({ ...TLS, port, method, path, headers, agent: false })
  request.on('error', () => {})
  request.once('socket', (socket) => sockets.add(socket))
  request.flushHeaders()
  const answered = once(request, 'response') as Promise<[IncomingMessage]>
  const answer = answered.then(([response]) => ({
    status: response.statusCode ?? 0,
    headers: response.headers,
  }))
  answer.catch(() => {})
  return { answer, stream: joinExchange(request, answered), reset: () => request.destroy() }
}

function joinExchange(request: ClientRequest, answered: Promise<[IncomingMessage]>): Duplex {
  const joined = new Duplex({
    write: (chunk: Buffer, _encoding, done) => void request.write(chunk, done),
    final: (done) => void request.end(done),
    read: () => {},
  })
  answered.then(
    ([response]) => {
      response.on('data', (chunk: Buffer) => joined.push(chunk))
      response.on('end', () => joined.push(null))
    },
    () => joined.destroy(),
  )
  return joined
}

runTransportContract({
  protocol: 'HTTP1',
  multiplexed: false,
  start: async (accept) => {
    const transport = await startTlsTransport('http/1.1', accept)
    return {
      open: () => {
        const exchanges: ContractExchange[] = []
        const keep = (exchange: ContractExchange): ContractExchange => {
          exchanges.push(exchange)
          return exchange
        }
        return Promise.resolve({
          connect: (authority, headers) => keep(openConnect(transport.port, authority, headers)),
          request: (method, path, headers) => keep(openRequest(transport.port, method, path, headers)),
          get: (scheme, authority, path) => {
            const url = `${scheme}://${authority}${path}`
            const exchange = keep(openRequest(transport.port, 'GET', url, { host: 'other.test' }))
            exchange.stream.end()
            return exchange
          },
          destroy: async () => {
            for (const exchange of exchanges) {
              const { stream } = exchange
              const closed = stream.closed ? undefined : once(stream, 'close')
              exchange.reset()
              await closed
            }
          },
        })
      },
      [Symbol.asyncDispose]: async () => {
        for (const socket of sockets) socket.destroy()
        sockets.clear()
        await transport[Symbol.asyncDispose]()
      },
    }
  },
})

// A proxy that waited for the rest, so that the client could read the answer, used to wait for its whole time limit.
it('the content of a request that has its answer closes with the connection', async () => {
  const arrived = Promise.withResolvers<Exchange>()
  await using transport = await startTlsTransport('http/1.1', () => ({
    onExchange: arrived.resolve,
    onClose: () => {},
  }))
  const socket = connect({ ...TLS, port: transport.port })
  socket.write('PUT / HTTP/1.1\r\nHost: vpn.endpoint\r\nContent-Length: 10\r\n\r\nhalf')
  const body = plainOf(await arrived.promise).body()
  const closed = once(body, 'close')
  const answered = once(socket, 'data')
  ;(await arrived.promise).respond(200, { 'content-length': '0' }, { endStream: true })
  await answered
  socket.destroy()
  await closed
  expect(body.readableEnded).toBe(false)
})

it('a client that takes nothing of its answer loses its connection', async () => {
  const clock = new FakeClock()
  const arrived = Promise.withResolvers<Exchange>()
  await using transport = await startTlsTransport(
    'http/1.1',
    () => ({ onExchange: arrived.resolve, onClose: () => {} }),
    clock,
  )
  const socket = connect({ ...TLS, port: transport.port })
  socket.on('error', () => {})
  socket.write('GET / HTTP/1.1\r\nHost: vpn.endpoint\r\n\r\n')
  const answer = (await arrived.promise).respond(200, {})
  // Far more than the kernel holds, and nobody reads.
  answer.write(Buffer.alloc(64 * 1024 * 1024))
  const closed = new Promise((resolve) => answer.once('close', resolve))
  clock.advance(60_000)
  expect(answer.destroyed).toBe(false)
  clock.advance(60_000)
  await closed
  socket.destroy()
})

// libuv refuses a reset while our FIN is under way; Node then forgot the connection without closing it.
it('a tunnel that is reset as soon as it has ended closes its connection', async () => {
  const arrived = Promise.withResolvers<Exchange>()
  await using transport = await startTlsTransport('http/1.1', () => ({
    onExchange: arrived.resolve,
    onClose: () => {},
  }))
  const socket = connect({ ...TLS, port: transport.port })
  socket.on('error', () => {})
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.write('CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n')
  const tunnel = connectOf(await arrived.promise).accept()
  await once(socket, 'data')
  tunnel.io.end()
  tunnel.reset('cancel')
  // Nobody is there to take it.
  const write = (error?: Error | null): unknown => error ?? socket.write('late', write)
  socket.once('end', write).resume()
  await closed
})

expectNothingLeftOpen()
