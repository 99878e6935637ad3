/**
 * Passes a connection on to another server with its TLS untouched, so that the endpoint can stand in front of a web
 * server on the same port. The operator chose the target: the address policy for clients does not apply.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import type { Clock } from '../clock.ts'
import type { PassTarget } from '../wire/target.ts'

/**
 * Moves bytes both ways, keeping half-close, until both directions have ended or one side is lost. Owns both sockets
 * from then on and destroys them at the end. Never throws.
 */
export type Splice = (client: Socket, upstream: Socket) => void

interface PassthroughOptions {
  readonly to: PassTarget
  readonly connectTimeoutMs: number
  readonly clock: Clock
  readonly splice: Splice
  /** The upstream is connected and the splice is running. */
  onSpliced(): void
  /** The upstream cannot be reached; the client's socket is destroyed. */
  onFailed(code: string): void
}

/** Connects and splices. Ends quietly when the client leaves in the meantime. */
export function passThrough(client: Socket, options: PassthroughOptions): void {
  // The client may end its side before the server has spoken; without this Node would end ours too.
  client.allowHalfOpen = true
  const upstream = connect({ ...options.to, noDelay: true, keepAlive: true, allowHalfOpen: true })
  const detach = (): void => {
    deadline.cancel()
    upstream.off('error', onError)
    client.off('close', onClientClosed)
  }
  const fail = (code: string): void => {
    detach()
    upstream.on('error', ignoreError)
    upstream.destroy()
    client.destroy()
    options.onFailed(code)
  }
  const onError = (error: NodeJS.ErrnoException): void => fail(error.code ?? 'error')
  const onClientClosed = (): void => {
    detach()
    upstream.on('error', ignoreError)
    upstream.destroy()
  }
  const deadline = options.clock.after(options.connectTimeoutMs, () => fail('timeout'))
  upstream.on('error', onError)
  client.once('close', onClientClosed)
  upstream.once('connect', () => {
    detach()
    upstream.on('error', ignoreError)
    options.splice(client, upstream)
    options.onSpliced()
  })
}

function ignoreError(): void {}
