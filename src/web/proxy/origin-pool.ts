/**
 * Connections to one of the operator's web servers. They do not pass the address policy: what clients may reach through
 * a tunnel says nothing about where the operator keeps a site.
 */
import type { Agent, ClientRequest } from 'node:http'
import type { HttpOrigin } from '../../wire/target.ts'
import { nodeHttp } from './node-http.ts'
import type { OriginSource, OutgoingHead } from './origin-request.ts'
import type { OriginSockets } from './origin-sockets.ts'

/** Closes idle connections before most servers do, which commonly wait 5 s or longer. */
const IDLE_MS = 4000
const MAX_IDLE = 32

export class OriginPool implements OriginSource {
  readonly address: HttpOrigin
  readonly #reused: Agent
  readonly #single: Agent

  /** Requests above `maxConnections` wait for a connection. */
  constructor(address: HttpOrigin, maxConnections: number, sockets: OriginSockets) {
    this.address = address
    const { Agent: AgentClass } = nodeHttp(address.protocol)
    this.#reused = new AgentClass({
      keepAlive: true,
      timeout: IDLE_MS,
      maxFreeSockets: MAX_IDLE,
      maxSockets: maxConnections,
      scheduling: 'lifo',
    })
    this.#single = new AgentClass({ keepAlive: false, maxSockets: maxConnections })
    sockets.guard(this.#reused)
    sockets.guard(this.#single)
  }

  get authority(): string {
    const { host, port } = this.address
    return `${host.includes(':') ? `[${host}]` : host}:${port}`
  }

  /** {@link OriginSource} */
  open(head: OutgoingHead, { reuse }: { reuse: boolean }): ClientRequest {
    return nodeHttp(this.address.protocol).request({
      ...head,
      host: this.address.host,
      port: this.address.port,
      agent: reuse ? this.#reused : this.#single,
      setHost: false,
    })
  }

  destroy(): void {
    this.#reused.destroy()
    this.#single.destroy()
  }
}
