/** Opens and counts the sockets to the operator's web servers, of all pools together: each takes a descriptor. */
import type { Agent } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Counters } from '../../counters.ts'
import { EndpointError } from '../../errors.ts'

interface SocketDependencies {
  /** Gets the gauge `origin_sockets`. */
  readonly counters: Counters
  /** Whether one more descriptor may be taken. */
  readonly mayDial: () => boolean
}

export class OriginSockets {
  readonly #deps: SocketDependencies
  #open = 0

  constructor(deps: SocketDependencies) {
    this.#deps = deps
    deps.counters.gauge('origin_sockets', () => this.#open)
  }

  /** From now on `agent` fails with `limit_exceeded` when there is no descriptor; what it keeps open stays of use. */
  guard(agent: Agent): void {
    const connect = agent.createConnection.bind(agent)
    agent.createConnection = (options, done) => {
      if (!this.#deps.mayDial()) {
        this.#deps.counters.count('outbound_descriptors_exhausted')
        // Not thrown: the request reports it like any failure to connect. The type wants a socket beside the error.
        const refuse = done as ((error: Error) => void) | undefined
        refuse?.(new EndpointError('limit_exceeded', 'no descriptor is left for a connection'))
        return undefined
      }
      const socket = connect(options, done)
      if (socket) this.#count(socket)
      return socket
    }
  }

  #count(socket: Duplex): void {
    this.#open++
    socket.once('close', () => this.#open--)
  }
}
