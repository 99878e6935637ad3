/** Real servers on loopback for tunnels to lead to. Use each with `await using`. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import net from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

export interface TcpTarget extends AsyncDisposable {
  readonly port: number
  readonly authority: string
  /** Connections that are currently open. */
  readonly sockets: Set<Socket>
  /** The next connection that arrives. */
  nextSocket(): Promise<Socket>
}

export async function openTcpTarget(
  onSocket: (socket: Socket) => void,
  host = '127.0.0.1',
): Promise<TcpTarget> {
  const sockets = new Set<Socket>()
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    onSocket(socket)
  })
  server.listen(0, host)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    authority: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
    sockets,
    nextSocket: async () => {
      const [socket] = (await once(server, 'connection')) as [Socket]
      return socket
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Sends back what it receives, and ends when the other side has ended. */
export function openEcho(host?: string): Promise<TcpTarget> {
  return openTcpTarget((socket) => socket.pipe(socket), host)
}

/** Reads to the end of what the client sends, then answers with `reply` and ends: works only with half-close. */
export function openRequestResponder(reply: (request: Buffer) => Buffer): Promise<TcpTarget> {
  return openTcpTarget((socket) => {
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('end', () => socket.end(reply(Buffer.concat(chunks))))
  })
}

export interface UdpTarget extends AsyncDisposable {
  readonly port: number
  readonly received: Buffer[]
}

/** Sends each datagram back `copies` times. */
export async function openUdpEcho(
  options: { host?: string; port?: number; copies?: number } = {},
): Promise<UdpTarget> {
  const { host = '127.0.0.1', port = 0, copies = 1 } = options
  const received: Buffer[] = []
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  socket.on('message', (payload, peer) => {
    received.push(payload)
    for (let i = 0; i < copies; i++) socket.send(payload, peer.port, peer.address)
  })
  socket.bind(port, host)
  await once(socket, 'listening')
  return {
    port: socket.address().port,
    received,
    [Symbol.asyncDispose]: async () => {
      socket.close()
      await once(socket, 'close')
    },
  }
}
