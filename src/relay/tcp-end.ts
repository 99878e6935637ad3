/** A TCP socket as an end of the relay, where a reset is RST. */
import type { Socket } from 'node:net'
import type { TcpEnd } from '../contract/stream-end.ts'

function resetFinished(this: Socket): void {
  this.resetAndDestroy()
}

/** The socket must have an error listener of its own. */
export class SocketEnd implements TcpEnd {
  readonly io: Socket

  constructor(io: Socket) {
    this.io = io
  }

  /**
   * Sends RST and destroys the socket. While the FIN of `end()` is under way libuv refuses that (`uv_tcp_close_reset`
   * returns EINVAL), and Node then neither closes the descriptor nor emits 'close' (`_destroy` in lib/net.js), so the
   * reset waits for the FIN. The FIN leaves once nothing is left to write, whatever the peer does.
   */
  reset(): void {
    const socket = this.io
    const finishing = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0
    if (!finishing || socket.destroyed) socket.resetAndDestroy()
    else if (socket.listenerCount('finish', resetFinished) === 0) socket.once('finish', resetFinished)
  }
}
