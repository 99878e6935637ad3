/**
 * One TCP connection on its way to a target. The listeners are shared by all sockets, and find whom to tell through a
 * property of the socket that is cleared with the answer: a closure per listener would live as long as the tunnel.
 */
import net from 'node:net'
import type { OnReadOpts, Socket, SocketConstructorOpts } from 'node:net'
import { EndpointError, type RefusalCode } from '../errors.ts'

/** Finds targets that vanished silently; the kernel starts probing after this time. */
const KEEP_ALIVE_AFTER_MS = 60_000

/** Hears of its connections, once of each; not of one that was given up. */
export interface Connector {
  onConnected(socket: Socket): void
  onFailed(socket: Socket, error: Error): void
}

const CONNECTOR = Symbol('connector')

interface DialledSocket extends Socket {
  [CONNECTOR]?: Connector | undefined
}

/** The options of all sockets that read into `onread`. */
export function connectionOptions(onread: OnReadOpts): SocketConstructorOpts {
  return {
    allowHalfOpen: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_AFTER_MS,
    noDelay: true,
    onread,
  }
}

/** The socket has an error listener for life. */
export function openConnection(
  address: string,
  port: number,
  options: SocketConstructorOpts,
  connector: Connector,
): Socket {
  const socket: DialledSocket = new net.Socket(options)
  socket[CONNECTOR] = connector
  socket.on('error', onError)
  socket.on('connect', onConnect)
  return socket.connect({ host: address, port, autoSelectFamily: false })
}

/** Destroys a connection that is under way; nothing is reported any more. */
export function giveUpConnection(socket: Socket): void {
  takeConnector(socket)
  socket.destroy()
}

function takeConnector(socket: DialledSocket): Connector | undefined {
  const connector = socket[CONNECTOR]
  socket[CONNECTOR] = undefined
  return connector
}

function onConnect(this: Socket): void {
  this.off('connect', onConnect)
  takeConnector(this)?.onConnected(this)
}

/** Once connected, 'close' follows, and the owner of the socket acts on that. */
function onError(this: Socket, error: Error): void {
  takeConnector(this)?.onFailed(this, error)
}

const CODE_BY_ERRNO: Readonly<Record<string, RefusalCode>> = {
  ENETUNREACH: 'target_unreachable',
  EHOSTUNREACH: 'target_unreachable',
  ENETDOWN: 'target_unreachable',
  EHOSTDOWN: 'target_unreachable',
  EADDRNOTAVAIL: 'target_unreachable',
  EAFNOSUPPORT: 'target_unreachable',
  ETIMEDOUT: 'target_timeout',
}

function errnoOf(error: Error): string {
  return 'code' in error ? String(error.code) : ''
}

export function isDescriptorShortage(error: Error): boolean {
  const errno = errnoOf(error)
  return errno === 'EMFILE' || errno === 'ENFILE'
}

/** What the failure of a connection means to a client. */
export function connectionFailure(error: Error): EndpointError {
  const code = CODE_BY_ERRNO[errnoOf(error)] ?? 'target_refused'
  return new EndpointError(code, 'the connection failed', { cause: error })
}
