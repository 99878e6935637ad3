/**
 * Connections to origins that answer and close without having read all that is sent to them. Node takes the first
 * failure for the end of the whole connection and throws away what has arrived and was not read yet, in the kernel
 * after a failed write, in the stream after a failed read (nodejs/node lib/internal/stream_base_commons.js,
 * `onWriteComplete` and `onStreamRead`). Here a failure is remembered, writes go nowhere from then on, and what has
 * arrived is read to the end.
 */
/* oxlint-disable no-underscore-dangle -- these are the methods that a stream is made of */
import type { Socket } from 'node:net'

type Done = (error?: Error | null) => void

export class OriginConnection {
  /** Why nothing more can be sent. */
  error: NodeJS.ErrnoException | undefined
  /** Called once, when {@link error} is set. Each exchange on the connection sets its own. */
  onFailure: (() => void) | undefined
  readonly #socket: Socket

  static readonly #known = new WeakMap<Socket, OriginConnection>()

  /** Call before anything is written. A connection that is kept open keeps its instance. */
  static of(socket: Socket): OriginConnection {
    const known = this.#known.get(socket)
    if (known !== undefined) return known
    const connection = new OriginConnection(socket)
    this.#known.set(socket, connection)
    return connection
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    const write = socket._write.bind(socket)
    const writev = socket._writev?.bind(socket)
    const destroy = socket.destroy.bind(socket)
    socket._write = (chunk, encoding, done) => {
      if (this.error === undefined) write(chunk, encoding, this.#outlive(done))
      else done()
    }
    if (writev !== undefined) {
      socket._writev = (chunks, done) => {
        if (this.error === undefined) writev(chunks, this.#outlive(done))
        else done()
      }
    }
    socket.destroy = (error?: NodeJS.ErrnoException) => {
      if (error?.syscall !== 'read' || socket.readableLength === 0 || socket.readableEnded)
        return destroy(error)
      this.#fail(error)
      socket.push(null)
      return socket
    }
  }

  /** The connection was reset; if not, a failed write may only mean that the origin was done. */
  get wasReset(): boolean {
    return this.error?.code === 'ECONNRESET'
  }

  #outlive(done: Done): Done {
    return (error) => {
      // We destroyed it: nobody is reading.
      if (error && this.#socket.destroyed) return done(error)
      done()
      if (error) this.#fail(error)
    }
  }

  #fail(error: Error): void {
    if (this.error !== undefined) return
    this.error = error
    this.onFailure?.()
  }
}
