/**
 * One data plane: opens the listeners and everything behind them, puts changes into force, and ends everything in
 * order.
 */
import net from 'node:net'
import type { AddressInfo } from 'node:net'
import type { Settings } from '../config/settings.ts'
import { OutboundRules } from '../egress/outbound-rules.ts'
import { InboundRules } from '../gate/inbound-rules.ts'
import * as map from './options.ts'
import { listen } from './listening.ts'
import type { ListenAddress } from './messages.ts'
import type { Http3Transport } from '../transport/http3/transport.ts'
import type { Certificate } from '../transport/tls.ts'
import type { LedgerShare } from '../users/ledger-memory.ts'
import { createDirectory, createHostMap, createHttp3, openRooms } from './rooms.ts'
import type { LaneDependencies, Rooms } from './rooms.ts'

export class Lane {
  readonly address: ListenAddress
  readonly #deps: LaneDependencies
  readonly #server: net.Server
  readonly #rooms: Rooms
  #http3: Http3Transport | undefined
  /** The certificate that HTTP/3 shows; it can hold only one. */
  #http3Certificate = ''
  #prepared: Prepared | undefined
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
      await listen(server, settings.vpn.listen_address, {
        share: deps.share,
        udpToo: settings.vpn.listen_protocols.quic !== null,
      })
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
    const { log, share } = this.#deps
    const options = map.http3Options(settings, this.address, share)
    if (options === undefined) return
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
   * Does everything of a change that can fail: new hosts, certificates, users and rules. Nothing is in force, and
   * nothing different is seen from outside, before {@link commit}. Replaces what was prepared before.
   */
  async prepare(settings: Settings, users: LedgerShare): Promise<void> {
    this.discard()
    const { tls, gate, dispatcher, policy, ledger } = this.#rooms
    const options = map.reloadable(settings)
    const rules = new InboundRules(options.inboundRules)
    const hosts = createHostMap(options.hosts, tls)
    const outbound = new OutboundRules(options.outboundRules)
    const directory = createDirectory(options.clientCredentials, this.address)
    const http3 = await this.#prepareHttp3(options.quicCertificate)
    this.#prepared = {
      // All of it at once, without waiting.
      commit: () => {
        gate.update({ rules, hosts })
        policy.replaceRules(outbound)
        ledger.adopt(users)
        dispatcher.replaceDirectory(directory)
        return http3?.commit() ?? Promise.resolve()
      },
      discard: () => http3?.discard(),
    }
  }

  /** Puts into force what was prepared. Cannot fail; resolves when nothing of the old state is left. */
  async commit(): Promise<void> {
    const prepared = this.#prepared
    this.#prepared = undefined
    await prepared?.commit()
  }

  /** Drops what was prepared. Idempotent. */
  discard(): void {
    this.#prepared?.discard()
    this.#prepared = undefined
  }

  /** Undefined when HTTP/3 already shows this certificate, or is not running. */
  async #prepareHttp3(first: Certificate | undefined): Promise<Prepared | undefined> {
    if (this.#http3 === undefined || first === undefined) return undefined
    const certificate = first.cert + first.key
    if (certificate === this.#http3Certificate) return undefined
    const replacement = await this.#http3.openReplacement(Buffer.from(first.cert), Buffer.from(first.key))
    const commit = async (): Promise<void> => {
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
    }
    return { commit, discard: () => replacement?.discard() }
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

/** A change that cannot fail any more. */
interface Prepared {
  commit(): Promise<void>
  discard(): void
}
