/** Entry point of the target process, where tunnels lead to. Reports its addresses and how much it has received. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { serveRequests } from './pinned-process.ts'

export interface Targets {
  /** Sends forever. */
  readonly blast: readonly string[]
  /** Takes whatever arrives. */
  readonly sink: readonly string[]
  /** Sends back. */
  readonly echo: readonly string[]
  readonly udpEcho: { readonly address: string; readonly port: number }
}

export type TargetRequest = { readonly do: 'listen' } | { readonly do: 'count' }

/** Each holds another 28,000 local ports of the endpoint. */
const ADDRESSES = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5', '127.0.0.6']
const BLAST = Buffer.alloc(262_144, 'culvert')
const UDP_BUFFER_BYTES = 4_194_304

let sunkBytes = 0

serveRequests(async (request: TargetRequest) => {
  if (request.do === 'count') return sunkBytes
  const targets: Targets = {
    blast: await listen(blast),
    sink: await listen(sink),
    echo: await listen(echo),
    udpEcho: await listenUdp(),
  }
  return targets
})

function listen(serve: (socket: Socket) => void): Promise<string[]> {
  return Promise.all(
    ADDRESSES.map(async (host) => {
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        socket.on('error', () => {})
        serve(socket)
      })
      server.listen({ host, port: 0, backlog: 4096 })
      await once(server, 'listening')
      return `${host}:${(server.address() as AddressInfo).port}`
    }),
  )
}

function blast(socket: Socket): void {
  const fill = (): void => {
    while (!socket.destroyed && socket.write(BLAST));
  }
  socket.on('drain', fill)
  socket.on('end', () => socket.destroy())
  socket.resume()
  fill()
}

function sink(socket: Socket): void {
  socket.on('data', (chunk) => {
    sunkBytes += chunk.length
  })
  socket.on('end', () => socket.end())
}

function echo(socket: Socket): void {
  socket.on('data', (chunk) => socket.write(chunk))
  socket.on('end', () => socket.end())
}

async function listenUdp(): Promise<{ address: string; port: number }> {
  const socket = createSocket({
    type: 'udp4',
    recvBufferSize: UDP_BUFFER_BYTES,
    sendBufferSize: UDP_BUFFER_BYTES,
  })
  socket.on('message', (message, from) => socket.send(message, from.port, from.address))
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { address, port } = socket.address()
  return { address, port }
}
