/**
 * A listener that neither accepts nor refuses connections: its backlog is full and nothing accepts, so the kernel drops
 * further SYNs. It listens in a thread that then blocks, because a running event loop would accept.
 */
import { once } from 'node:events'
import net from 'node:net'
import type { Socket } from 'node:net'
import { Worker } from 'node:worker_threads'

const LISTEN_AND_BLOCK = `
const { parentPort, workerData } = require('node:worker_threads')
const server = require('node:net').createServer()
server.listen({ ...workerData, backlog: 1 }, () => {
  parentPort.postMessage(server.address().port)
  setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0))
})`
/** Linux queues one connection more than the backlog says. */
const QUEUED_CONNECTIONS = 2

export class SilentListener implements AsyncDisposable {
  readonly port: number
  readonly #worker: Worker
  readonly #queued: Socket[]

  constructor(port: number, worker: Worker, queued: Socket[]) {
    this.port = port
    this.#worker = worker
    this.#queued = queued
  }

  static async open(host: string, port = 0): Promise<SilentListener> {
    const worker = new Worker(LISTEN_AND_BLOCK, { eval: true, workerData: { host, port } })
    const [bound] = (await once(worker, 'message')) as [number]
    const queued: Socket[] = []
    for (let index = 0; index < QUEUED_CONNECTIONS; index += 1) {
      const socket = net.connect({ host, port: bound })
      socket.on('error', () => {})
      await once(socket, 'connect')
      queued.push(socket)
    }
    return new SilentListener(bound, worker, queued)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#queued) socket.destroy()
    await this.#worker.terminate()
  }
}
