/**
 * Entry point of a process that stands for a long way: a TCP relay on loopback that holds every byte for some time in
 * each direction, however many they are. The kernels at both ends see loopback, so nothing but the windows of HTTP/2
 * limits what is under way.
 */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { serveRequests } from './pinned-process.ts'

export interface RelayRequest {
  readonly do: 'listen'
  readonly address: string
  readonly port: number
  /** One way. */
  readonly delayMs: number
}

/** Far above what any window allows; a receiver that has stopped must not cost the machine's memory. */
const MAX_HELD_BYTES = 134_217_728

/** Answers with the port. */
serveRequests(async ({ address, port, delayMs }: RelayRequest) => {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const endpoint = connect({ host: address, port, allowHalfOpen: true, noDelay: true })
    join(client, endpoint, delayMs)
    join(endpoint, client, delayMs)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
})

/** What arrives from one socket goes to the other `delayMs` later, its end included. */
function join(from: Socket, to: Socket, delayMs: number): void {
  const held: { readonly dueMs: number; readonly chunk: Buffer | undefined }[] = []
  let heldBytes = 0
  let timer: NodeJS.Timeout | undefined
  const sendDue = (): void => {
    timer = undefined
    for (let first = held[0]; first !== undefined; first = held[0]) {
      const waitMs = first.dueMs - performance.now()
      if (waitMs > 0) {
        timer = setTimeout(sendDue, waitMs)
        return
      }
      held.shift()
      if (first.chunk === undefined) {
        to.end()
      } else {
        heldBytes -= first.chunk.length
        to.write(first.chunk)
      }
    }
    if (from.isPaused()) from.resume()
  }
  const hold = (chunk: Buffer | undefined): void => {
    held.push({ dueMs: performance.now() + delayMs, chunk })
    timer ??= setTimeout(sendDue, delayMs)
  }
  from.on('data', (chunk: Buffer) => {
    hold(chunk)
    heldBytes += chunk.length
    if (heldBytes + to.writableLength > MAX_HELD_BYTES) from.pause()
  })
  from.once('end', () => hold(undefined))
  from.on('error', () => {})
  from.once('close', (hadError) => {
    if (!hadError) return
    clearTimeout(timer)
    to.destroy()
  })
}
