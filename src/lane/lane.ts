/**
 * One data plane: opens the listeners and everything behind them, puts changes into force, and ends everything in
 * order.
 */
import { once } from 'node:events'
import net from 'node:net'
import type { AddressInfo } from 'node:net'
import type { Settings } from '../config/settings.ts'
import { OutboundRules } from '../egress/outbound-rules.ts'
import { InboundRules } from '../gate/inbound-rules.ts'
import * as map from './options.ts'
import type { ListenAddress } from './messages.ts'
import type { Http3Replacement, Http3Transport } from '../transport/http3/transport.ts'
import type { Certificate } from '../transport/tls.ts'
import { createDirectory, createHostMap, createHttp3, openRooms } from './rooms.ts'
import type { LaneDependencies, Rooms } from './rooms.ts'

const LISTEN_BACKLOG = 1024

export class Lane {
  readonly address: ListenAddress
  readonly #deps: LaneDependencies
  readonly #server: net.Server
  readonly #rooms: Rooms
  #http3: Http3Transport | undefined
  /** The certificate that HTTP/3 shows; it can hold only one. */
  #http3Certificate = ''
  #closing: Promise<void> | undefined

  private constructor(deps: LaneDependencies, server: net.Server, rooms: Rooms) {
    this.#deps = deps
    this.#server = server
    this.#rooms = rooms
    const { address, port } = server.address() as AddressInfo
    this.address = { address, port }
  }

  /** Resolves when connections are accepted. A failed start leaves nothing open. */
  static async open(settings: Settings, deps: LaneDependencies): Promise<Lane> {
    const rooms = await openRooms(settings, deps)
    const server = net.createServer({ allowHalfOpen: true }, (socket) => rooms.gate.accept(socket))
    try {
      await listen(server, settings.vpn.listen_address)
      // Node reports this for a single connection; without a handler it would end the lane.
      server.on('error', (error) => rooms.gate.acceptFailed(error))
      const lane = new Lane(deps, server, rooms)
      await lane.#openHttp3(settings)
      return lane
    } catch (error) {
      server.close()
      rooms.destroy(new Error('start has failed'))
      throw error
    }
  }

  /** UDP on the port that TCP was given. Without an addon for this platform, the other versions run alone. */
  async #openHttp3(settings: Settings): Promise<void> {
    const options = map.http3Options(settings, this.address)
    if (options === undefined) return
    const { log } = this.#deps
    const http3 = createHttp3(options, settings, this.#rooms, this.#deps)
    const start = await http3.start()
    if (start.kind === 'unavailable') {
      return log.warn(
        { err: start.error },
        'HTTP/3 is not available on this platform; HTTP/1.1 and HTTP/2 are',
      )
    }
    this.#http3 = http3
    this.#http3Certificate = options.cert.toString() + options.key.toString()
    if (!start.keyIsPrivate)
      log.warn(
        'other users can read the directory for temporary files, where the HTTP/3 library keeps the private key',
      )
  }

  /**
   * Puts new hosts, certificates, users and rules into force: all of them, or none when one cannot be used. Resolves
   * when nothing of the old state is left.
   */
  async apply(settings: Settings): Promise<void> {
    const { tls, gate, dispatcher, policy } = this.#rooms
    const options = map.reloadable(settings)
    const rules = new InboundRules(options.inboundRules)
    const hosts = createHostMap(options.hosts, tls)
    const outbound = new OutboundRules(options.outboundRules)
    const directory = createDirectory(options.clientCredentials, this.address)
    // Last, because clients reach it as soon as it is open. Everything below happens at once and cannot fail.
    const http3 = await this.#openHttp3Replacement(options.quicCertificate)
    gate.update({ rules, hosts })
    policy.replaceRules(outbound)
    dispatcher.replaceDirectory(directory)
    await http3?.takeOver()
  }

  /** Undefined when HTTP/3 already shows this certificate, or is not running. */
  async #openHttp3Replacement(first: Certificate | undefined): Promise<Http3Replacement | undefined> {
    if (this.#http3 === undefined || first === undefined) return undefined
    const certificate = first.cert + first.key
    if (certificate === this.#http3Certificate) return undefined
    const replacement = await this.#http3.openReplacement(Buffer.from(first.cert), Buffer.from(first.key))
    return {
      takeOver: async () => {
        try {
          await replacement?.takeOver()
          this.#http3Certificate = certificate
        } catch (error) {
          // It shows none: the next change tries again, whatever its certificate.
          this.#http3Certificate = ''
          this.#deps.log.error(
            { err: error },
            'HTTP/3 is gone until the next reload: its port cannot be bound again',
          )
        }
      },
    }
  }

  /** Counters and gauges by name. */
  stats(): Record<string, number> {
    return this.#rooms.counters.snapshot()
  }

  /** Stops accepting, drains the sessions for up to `graceMs`, then ends. Idempotent. */
  close({ graceMs }: { graceMs: number }): Promise<void> {
    this.#closing ??= this.#close(graceMs)
    return this.#closing
  }

  async #close(graceMs: number): Promise<void> {
    const { gate, registry } = this.#rooms
    this.#server.close()
    await Promise.all([gate.close({ graceMs }), registry.close({ graceMs }), this.#http3?.close({ graceMs })])
    this.destroy(new Error('the lane has closed'))
  }

  /** Ends everything now. Idempotent. */
  destroy(reason: Error): void {
    this.#deps.log.debug({ reason: reason.message }, 'lane ends')
    this.#server.close()
    this.#http3?.destroy(reason)
    this.#rooms.destroy(reason)
  }
}

async function listen(server: net.Server, { address, port }: ListenAddress): Promise<void> {
  server.listen({ host: address, port, backlog: LISTEN_BACKLOG })
  try {
    await once(server, 'listening')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error
    const hint =
      'low ports need the capability CAP_NET_BIND_SERVICE: put AmbientCapabilities=CAP_NET_BIND_SERVICE into the ' +
      'systemd unit, or lower the sysctl net.ipv4.ip_unprivileged_port_start'
    throw Object.assign(new Error(`cannot listen on port ${port}: ${hint}`, { cause: error }), {
      code: 'EACCES',
    })
  }
}
