/** A tunnel over each HTTP version, as its client sees it. */
import type { Duplex } from 'node:stream'
import { AUTHORIZED } from './forward-client.ts'
import { H2Client } from './h2-client.ts'
import { H3Client } from './h3-client.ts'
import { openTls, readNext } from './tls-client.ts'

export interface ClientTunnel extends AsyncDisposable {
  readonly status: number
  readonly stream: Duplex
}

async function openOverHttp1(port: number, authority: string): Promise<ClientTunnel> {
  const socket = await openTls(port, { servername: 'vpn.endpoint', ALPNProtocols: ['http/1.1'] })
  const authorization = AUTHORIZED['proxy-authorization']
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: a\r\nProxy-Authorization: ${authorization}\r\n\r\n`)
  let head = ''
  while (!head.endsWith('\r\n\r\n')) head += (await readNext(socket, 1)).toString('latin1')
  return {
    status: Number(head.split(' ', 2)[1]),
    stream: socket,
    [Symbol.asyncDispose]: () => Promise.resolve(socket.destroy()).then(() => {}),
  }
}

async function openOverHttp2(port: number, authority: string): Promise<ClientTunnel> {
  const client = await H2Client.open({ port })
  const { status, stream } = await client.connect(authority, AUTHORIZED)
  return { status, stream, [Symbol.asyncDispose]: () => client[Symbol.asyncDispose]() }
}

async function openOverHttp3(port: number, authority: string): Promise<ClientTunnel> {
  const client = await H3Client.open(port)
  const { status, stream } = await client.tunnel(authority, AUTHORIZED)
  return { status, stream, [Symbol.asyncDispose]: () => client[Symbol.asyncDispose]() }
}

export const TUNNEL_CLIENTS = [
  { protocol: 'HTTP1', openTunnel: openOverHttp1 },
  { protocol: 'HTTP2', openTunnel: openOverHttp2 },
  { protocol: 'HTTP3', openTunnel: openOverHttp3 },
] as const
