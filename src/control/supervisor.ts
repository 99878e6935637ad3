/**
 * The control thread (`docs/architecture.md`): holds the configuration, starts the lanes, hands changes over, and ends
 * everything in order. Signals and exit codes belong to the commands.
 */
import { randomBytes } from 'node:crypto'
import { Worker } from 'node:worker_threads'
import type { Clock } from '../clock.ts'
import { systemClock } from '../clock.ts'
import { ConfigError, formatIssue } from '../config/config-error.ts'
import { keysThatTakeARestart } from '../config/restart-keys.ts'
import type { Settings } from '../config/settings.ts'
import { FileWatch } from './file-watch.ts'
import type { FromLane, LaneBirth, LaneQuestion, ListenAddress } from '../lane/messages.ts'
import type { Log } from '../log.ts'
import { usePrivateTemp } from './private-temp.ts'

export interface SupervisorOptions {
  readonly settings: Settings
  /** Reads the files anew; fails with all that is wrong with them. Without it nothing can be reloaded. */
  readonly load?: () => Settings | Promise<Settings>
  readonly log: Log
  readonly logLevel: string
  /** Takes a complete line, with its line end, from a lane. */
  readonly writeLog: (line: string) => void
  readonly clock?: Clock
}

const TICKET_KEY_BYTES = 48
/** What a lane may take beyond the grace before its thread is ended. */
const CLOSE_MARGIN_MS = 5000

export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #clock: Clock
  readonly #lane: LaneHandle
  readonly #watch: FileWatch
  readonly #closed = Promise.withResolvers<void>()
  #settings: Settings
  #reloading: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(options: SupervisorOptions) {
    this.#options = options
    this.#settings = options.settings
    this.#clock = options.clock ?? systemClock
    if (options.settings.vpn.listen_protocols.quic !== null) usePrivateTemp()
    this.#lane = new LaneHandle(
      { settings: options.settings, logLevel: options.logLevel, ticketKeys: randomBytes(TICKET_KEY_BYTES) },
      options.writeLog,
    )
    this.#watch = new FileWatch(this.#clock, () => this.#onCertificateChange())
    void this.#lane.ended.then(
      () => this.#closed.resolve(),
      (error: unknown) => this.#closed.reject(error),
    )
    // Whoever does not wait for the end must not be ended by it.
    this.#closed.promise.catch(() => {})
  }

  /** Settles when the endpoint has ended; rejects when a lane died. */
  get closed(): Promise<void> {
    return this.#closed.promise
  }

  /** Resolves when connections are accepted. A failed start leaves nothing open. */
  async start(): Promise<ListenAddress> {
    try {
      const address = (await this.#lane.ask({ type: 'start' })) as ListenAddress
      await this.#watch.replace(certificatePaths(this.#settings))
      return address
    } catch (error) {
      this.destroy(new Error('start has failed'))
      throw error
    }
  }

  /** Counters and gauges of the data plane. */
  async stats(): Promise<Record<string, number>> {
    return (await this.#lane.ask({ type: 'stats' })) as Record<string, number>
  }

  /**
   * Reads the files again and puts hosts, certificates, users and rules in force. Rejects, with everything as it
   * was, when they are wrong. Calls while one is under way share it.
   */
  reload(): Promise<void> {
    this.#reloading ??= this.#reload().finally(() => {
      this.#reloading = undefined
    })
    return this.#reloading
  }

  async #reload(): Promise<void> {
    if (!this.#options.load) throw new Error('there are no files to reload')
    const settings = await this.#options.load()
    await this.#lane.ask({ type: 'apply', settings })
    this.#settings = settings
    await this.#watch.replace(certificatePaths(settings))
    const { log, settings: first } = this.#options
    for (const { file, path, message } of settings.warnings) log.warn({ file, path }, message)
    const waiting = keysThatTakeARestart(first.vpn, settings.vpn)
    if (waiting.length > 0) log.warn({ keys: waiting }, 'these keys were changed and take a restart')
    log.info({ users: settings.clients.length }, 'configuration reloaded')
  }

  #onCertificateChange(): void {
    this.reload().catch((error: unknown) => {
      const detail =
        error instanceof ConfigError ? { problems: error.problems.map(formatIssue) } : { err: error }
      this.#options.log.error(detail, 'certificate files have changed but cannot be used; the old ones stay')
    })
  }

  /** Stops accepting, says goodbye, waits up to `graceMs` for open streams, then ends. Idempotent. */
  close({ graceMs }: { graceMs: number }): Promise<void> {
    this.#closing ??= this.#close(graceMs)
    return this.#closing
  }

  async #close(graceMs: number): Promise<void> {
    this.#watch.close()
    const margin = this.#clock.after(graceMs + CLOSE_MARGIN_MS, () =>
      this.destroy(new Error('close takes too long')),
    )
    await this.#lane.ask({ type: 'close', graceMs }).catch(() => {})
    margin.cancel()
    await this.#lane.terminate()
  }

  /** Ends at once. */
  destroy(_reason: Error): void {
    this.#watch.close()
    void this.#lane.terminate()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close({ graceMs: 0 })
  }
}

/** One lane's thread, asked by messages. */
class LaneHandle {
  readonly #worker: Worker
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>()
  readonly #ended = Promise.withResolvers<void>()
  #questions = 0
  #terminating = false

  constructor(birth: LaneBirth, writeLog: (line: string) => void) {
    this.#worker = new Worker(new URL('../lane/thread.ts', import.meta.url), { workerData: birth })
    this.#worker.on('message', (message: FromLane) => {
      if (message.type === 'log') writeLog(message.line)
      else this.#settle(message)
    })
    this.#worker.on('error', (error: unknown) =>
      this.#onEnd(error instanceof Error ? error : new Error(String(error))),
    )
    this.#worker.on('exit', (code) =>
      this.#onEnd(this.#terminating ? undefined : new Error(`lane exited with ${code}`)),
    )
    this.#ended.promise.catch(() => {})
  }

  get ended(): Promise<void> {
    return this.#ended.promise
  }

  ask(question: LaneQuestion): Promise<unknown> {
    const id = ++this.#questions
    const answer = Promise.withResolvers<unknown>()
    this.#pending.set(id, answer)
    this.#worker.postMessage({ ...question, id })
    return answer.promise
  }

  async terminate(): Promise<void> {
    this.#terminating = true
    await this.#worker.terminate()
  }

  #settle(message: Exclude<FromLane, { type: 'log' }>): void {
    const answer = this.#pending.get(message.id)
    this.#pending.delete(message.id)
    if (message.type === 'answer') answer?.resolve(message.value)
    else answer?.reject(Object.assign(new Error(message.message), message.code && { code: message.code }))
  }

  #onEnd(error: Error | undefined): void {
    for (const answer of this.#pending.values()) answer.reject(error ?? new Error('the lane has ended'))
    this.#pending.clear()
    if (error) this.#ended.reject(error)
    else this.#ended.resolve()
  }
}

function certificatePaths({ hosts }: Settings): string[] {
  return Object.values(hosts)
    .flat()
    .flatMap((host) => [host.cert_chain_path, host.private_key_path])
}
