/**
 * A web site on loopback that browsers and curl load through the endpoint, over HTTP and HTTPS: a page, a page with 50
 * resources, a download, an upload that is hashed, a WebSocket.
 */
import { once } from 'node:events'
import http from 'node:http'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { testCertificate } from './certificate.ts'
import { hashOf, sendPattern } from './patterned-bytes.ts'
import { echoWebSocket } from './websocket-echo.ts'

export const RESOURCES = 50
export const TITLE = 'A page behind the tunnel'

export interface WebTarget extends AsyncDisposable {
  readonly httpPort: number
  readonly httpsPort: number
  /** Paths asked for so far. */
  readonly requested: string[]
}

/** HTTPS uses the tests' certificate. */
export async function openWebTarget(): Promise<WebTarget> {
  const requested: string[] = []
  const onRequest: RequestListener = (request, response) => {
    requested.push(request.url ?? '')
    void answer(request, response)
  }
  const plain = http.createServer(onRequest)
  const secure = https.createServer(testCertificate(), onRequest)
  const opened = [await listen(plain), await listen(secure)] as const
  return {
    httpPort: opened[0].port,
    httpsPort: opened[1].port,
    requested,
    [Symbol.asyncDispose]: async () => {
      await Promise.all(opened.map((one) => one.close()))
    },
  }
}

async function listen(server: Server): Promise<{ port: number; close(): Promise<void> }> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.on('upgrade', echoWebSocket)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://target')
  if (pathname === '/') return send(response, 'text/html', page('<p id="text">It works.</p>'))
  if (pathname === '/many') return send(response, 'text/html', page(resources()))
  if (pathname === '/download') return download(response, Number(searchParams.get('bytes')))
  if (pathname === '/upload') return send(response, 'application/json', JSON.stringify(await hashOf(request)))
  if (pathname.endsWith('.js'))
    return send(response, 'text/javascript', 'window.scripts = (window.scripts ?? 0) + 1')
  if (pathname.endsWith('.css')) return send(response, 'text/css', `/* ${'x'.repeat(20_000)} */`)
  if (pathname.endsWith('.svg')) return send(response, 'image/svg+xml', IMAGE)
  response.writeHead(404).end()
}

const IMAGE =
  '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>'

/** 25 images, 15 scripts, 10 style sheets. */
function resources(): string {
  return Array.from({ length: RESOURCES }, (_, index) => {
    if (index % 2 === 0) return `<img src="/${index}.svg">`
    return index % 5 === 0 || index % 5 === 3
      ? `<link rel="stylesheet" href="/${index}.css">`
      : `<script src="/${index}.js"></script>`
  }).join('\n')
}

function page(body: string): string {
  return `<!doctype html><title>${TITLE}</title><link rel="icon" href="data:,"><body>${body}`
}

function send(response: ServerResponse, type: string, content: string): void {
  response.setHeader('content-type', type)
  response.end(content)
}

function download(response: ServerResponse, bytes: number): void {
  response.setHeader('content-type', 'application/octet-stream')
  response.setHeader('content-disposition', 'attachment; filename="pattern.bin"')
  response.setHeader('content-length', bytes)
  sendPattern(response, bytes)
}
