/**
 * The control thread (`docs/architecture.md`): holds the configuration, starts the lanes, passes changes on to them,
 * and ends everything in order. Signals and exit codes belong to the commands.
 */
import { randomBytes } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../clock.ts'
import { systemClock } from '../clock.ts'
import { ConfigError, formatIssue } from '../config/config-error.ts'
import { renewCertificates } from '../config/load-hosts.ts'
import type { LoadedSettings } from '../config/load.ts'
import type { Settings, VpnSettings } from '../config/settings.ts'
import type { ListenAddress } from '../lane/messages.ts'
import type { Log } from '../log.ts'
import { createAddressTable, returnAddresses } from '../users/address-table.ts'
import { SlotBook } from '../users/slot-book.ts'
import { ChangeQueue } from './change-queue.ts'
import { FileWatch, markFiles } from './file-watch.ts'
import { Lanes } from './lanes.ts'
import { usePrivateTemp } from './private-temp.ts'

interface SupervisorOptions {
  readonly settings: Settings
  /** How many lanes there are; a lane is a thread. */
  readonly lanes: number
  /**
   * Reads the files again, for an endpoint that runs with `running`; fails with everything that is wrong with them.
   * Without it nothing can be reloaded.
   */
  readonly load?: (running: VpnSettings) => Promise<LoadedSettings>
  readonly log: Log
  readonly logLevel: string
  /** Takes complete lines from a lane, newlines included. */
  readonly writeLog: (lines: string) => void
  readonly clock?: Clock
  /** The module that a lane's thread runs; tests use lanes that fail. */
  readonly laneThread?: URL
}

const LANE_THREAD = new URL('../lane/thread.ts', import.meta.url)
const TICKET_KEY_BYTES = 48
/**
 * How long a lane may take beyond the grace before its thread is terminated: more than the end of HTTP/3, which is up to
 * 1 s for its connections and 5 s for its threads.
 */
const CLOSE_MARGIN_MS = 8000
/** Node runs timers that are set for longer at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #clock: Clock
  readonly #lanes: Lanes
  readonly #users: SlotBook
  readonly #watch: FileWatch
  readonly #changes = new ChangeQueue()
  /** The settings in force. */
  #settings: Settings
  #closing: Promise<void> | undefined

  constructor(options: SupervisorOptions) {
    this.#options = options
    this.#settings = options.settings
    this.#clock = options.clock ?? systemClock
    if (options.settings.vpn.listen_protocols.quic !== null) usePrivateTemp()
    const { settings, lanes, log, logLevel, writeLog, laneThread } = options
    const users = (this.#users = new SlotBook(lanes))
    users.commit(users.plan(namesOf(settings)))
    const addresses = createAddressTable(lanes, settings.vpn.culvert.edge.connections_total)
    const ticketKeys = randomBytes(TICKET_KEY_BYTES)
    this.#lanes = new Lanes({
      count: lanes,
      birthOf: (lane, isHeir) => ({
        lane,
        lanes,
        isHeir,
        addresses,
        logLevel,
        ticketKeys,
        ledger: users.share,
        settings: this.#settings,
      }),
      onGone: (lane) => {
        users.returnLane(lane)
        returnAddresses(addresses, lane)
      },
      thread: laneThread ?? LANE_THREAD,
      port: settings.vpn.listen_address.port,
      changes: this.#changes,
      writeLog,
      log,
      clock: this.#clock,
    })
    this.#watch = new FileWatch(this.#clock, () => this.#onCertificateChange())
    this.#lanes.ended.finally(() => this.#watch.close()).catch(() => {})
  }

  /** How many there are. */
  get lanes(): number {
    return this.#options.lanes
  }

  /** Settles when the endpoint has ended; rejects when lanes died too often. */
  get closed(): Promise<void> {
    return this.#lanes.ended
  }

  /** Resolves when connections are accepted. A failed start leaves nothing open. */
  async start(): Promise<ListenAddress> {
    try {
      const address = await this.#lanes.start()
      // The certificates were read before their files could be marked: the first check reads them again.
      this.#watch.replace(certificatePaths(this.#settings), new Map())
      return address
    } catch (error) {
      this.destroy(new Error('start has failed'))
      throw error
    }
  }

  /** Counters and gauges of the data plane, summed over all lanes. */
  stats(): Promise<Record<string, number>> {
    return this.#lanes.stats()
  }

  /**
   * Reads the files again and puts hosts, certificates, users and rules into force. When they are wrong it rejects, and
   * everything stays as it was. A call that arrives while a change is under way is carried out after it, with what the
   * files contain then; waiting calls share one reading.
   */
  reload(): Promise<void> {
    return this.#changes.request('reload', () => this.#reload())
  }

  async #reload(): Promise<void> {
    if (!this.#options.load) throw new Error('there are no files to reload')
    const marks = await markFiles(certificatePaths(this.#settings))
    const { log } = this.#options
    const { waiting, ...settings } = await this.#options.load(this.#settings.vpn)
    await this.#apply(settings)
    this.#watch.replace(certificatePaths(settings), marks)
    this.#warn(settings)
    if (waiting.length > 0) log.warn({ keys: waiting }, 'these keys were changed and take a restart')
    log.info({ users: settings.clients.length }, 'configuration reloaded')
  }

  #onCertificateChange(): void {
    this.#changes
      .request('certificates', () => this.#renewCertificates())
      .catch((error: unknown) => {
        const detail =
          error instanceof ConfigError ? { problems: error.problems.map(formatIssue) } : { err: error }
        this.#options.log.error(
          detail,
          'certificate files have changed but cannot be used; the old ones stay',
        )
      })
  }

  /** Certificates alone: somebody may be in the middle of editing the other files. */
  async #renewCertificates(): Promise<void> {
    const settings = renewCertificates(this.#settings)
    if (isDeepStrictEqual(settings.hosts, this.#settings.hosts)) return
    await this.#apply(settings)
    this.#warn(settings)
    this.#options.log.info('certificates renewed')
  }

  /** Puts settings into force in all lanes, or in none when one of them refuses. */
  async #apply(settings: Settings): Promise<void> {
    const ledger = this.#users.plan(namesOf(settings))
    try {
      await this.#lanes.askAll({ type: 'prepare', settings, ledger })
    } catch (error) {
      await this.#lanes.tellAll({ type: 'discard' })
      throw error
    }
    // From here on nothing can fail, and a lane that dies begins again with this.
    this.#users.commit(ledger)
    this.#settings = settings
    await this.#lanes.tellAll({ type: 'commit' })
  }

  #warn({ warnings }: Settings): void {
    for (const { file, path, message } of warnings) this.#options.log.warn({ file, path }, message)
  }

  /** Stops accepting, says goodbye, waits up to `graceMs` for open streams, then ends. Idempotent. */
  close({ graceMs }: { graceMs: number }): Promise<void> {
    this.#closing ??= this.#close(graceMs)
    return this.#closing
  }

  async #close(graceMs: number): Promise<void> {
    this.#watch.close()
    const margin = this.#clock.after(Math.min(graceMs + CLOSE_MARGIN_MS, MAX_TIMER_MS), () =>
      this.destroy(new Error('close takes too long')),
    )
    this.#lanes.beginEnd()
    await this.#lanes.tellAll({ type: 'close', graceMs })
    margin.cancel()
    await this.#lanes.terminate()
  }

  /** Ends everything at once. */
  destroy(reason: Error): void {
    this.#options.log.debug({ reason: reason.message }, 'ending at once')
    this.#watch.close()
    void this.#lanes.terminate()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close({ graceMs: 0 })
  }
}

function certificatePaths({ hosts }: Settings): string[] {
  return Object.values(hosts)
    .flat()
    .flatMap((host) => [host.cert_chain_path, host.private_key_path])
}

function namesOf({ clients }: Settings): string[] {
  return clients.map(({ username }) => username)
}
