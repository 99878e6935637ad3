/**
 * HTTP/3 (RFC 9114 over RFC 9000, specification 3.2): UDP on the port whose TCP half belongs to the gate.
 * `native.ts` is the only file that knows the library.
 */
import { tmpdir } from 'node:os'
import { pause } from '../../clock.ts'
import { createListener } from './listener.ts'
import type { Listener, ListenerCreation } from './listener.ts'
import type { Http3Dependencies, Http3Options } from './options.ts'
import { isPrivateDirectory } from './private-directory.ts'

type Http3Start =
  | {
      readonly kind: 'listening'
      readonly port: number
      /**
       * False when other users of the machine may look into TMPDIR: while the library creates a server it writes the
       * private key there, readable by everyone and under a name that can be guessed.
       */
      readonly keyIsPrivate: boolean
    }
  /** There is no addon for this platform. HTTP/1.1 and HTTP/2 are not affected. */
  | { readonly kind: 'unavailable'; readonly error: Error }

/** A second server with another certificate, ready to take the place of the first. */
interface Http3Replacement {
  /**
   * Ends the sessions of the first server, whose clients connect again. Resolves when it is gone and the second has
   * its port; rejects when it cannot get it.
   */
  takeOver(): Promise<void>
  /** The second server is not wanted after all. */
  discard(): void
}

/** Threads of one process create servers through files with the same name, and may disturb each other. */
const OPEN_ATTEMPTS = 6
const OPEN_RETRY_MS = 40

export class Http3Transport {
  #options: Http3Options
  readonly #deps: Http3Dependencies
  #listener: Listener | undefined
  readonly #retired = new Set<Listener>()
  #state: 'new' | 'listening' | 'closed' = 'new'

  constructor(options: Http3Options, deps: Http3Dependencies) {
    this.#options = options
    this.#deps = deps
  }

  /** Binds UDP. Rejects when the certificate is refused or the address is taken. */
  async start(): Promise<Http3Start> {
    if (this.#state !== 'new') throw new Error('started already')
    const created = await this.#attempt(() => createListener(this.#options, this.#deps))
    if (created.kind === 'unavailable') return created
    const { listener } = created
    if (this.#options.isHeir) listener.inherit()
    listener.listen(this.#options)
    this.#state = 'listening'
    this.#listener = listener
    this.#options = { ...this.#options, port: listener.port }
    return { kind: 'listening', port: listener.port, keyIsPrivate: isPrivateDirectory(tmpdir()) }
  }

  /**
   * Prepares a server with a new certificate, which is known to be usable afterwards; the first is still running. The
   * library cannot exchange a certificate, and a port has only one server. Rejects and changes nothing when the
   * certificate is refused. Undefined when nothing listens that could be replaced.
   */
  async openReplacement(cert: Buffer, key: Buffer): Promise<Http3Replacement | undefined> {
    if (this.#state !== 'listening') return undefined
    const options = { ...this.#options, cert, key }
    const created = await this.#attempt(() => createListener(options, this.#deps))
    if (created.kind === 'unavailable') throw created.error
    const { listener } = created
    return {
      takeOver: () => this.#replace(options, listener),
      discard: () => void listener.close(0).catch(() => {}),
    }
  }

  async #replace(options: Http3Options, listener: Listener): Promise<void> {
    const old = this.#listener
    if (this.#isClosed() || old === undefined) return
    this.#options = options
    this.#listener = listener
    this.#retired.add(old)
    old.retire()
    await Promise.all([...this.#retired].map((each) => each.close(0)))
    this.#retired.delete(old)
    await this.#bind(options, listener)
  }

  /**
   * Somebody else may have the port for a moment. A server of the library that could not bind says ever after that it
   * is listening, so that every further attempt takes a new one.
   */
  async #bind(options: Http3Options, first: Listener): Promise<void> {
    let listener = first
    for (let attempt = 1; !this.#isClosed() && this.#listener === listener; attempt++) {
      try {
        return listener.listen(options)
      } catch (error) {
        if (attempt === OPEN_ATTEMPTS) throw error
      }
      await pause(this.#deps.clock, OPEN_RETRY_MS * attempt)
      if (this.#isClosed() || this.#listener !== listener) return
      const created = createListener(options, this.#deps)
      if (created.kind === 'unavailable') throw created.error
      this.#listener = created.listener
      await listener.close(0)
      listener = created.listener
    }
  }

  /** Takes no new requests, lets open streams finish, then closes the port. Idempotent. */
  async close({ graceMs }: { graceMs: number }): Promise<void> {
    this.#state = 'closed'
    await Promise.all(this.#listeners().map((listener) => listener.close(graceMs)))
  }

  /** Ends everything now. */
  destroy(reason: Error): void {
    this.#state = 'closed'
    for (const listener of this.#listeners()) listener.destroy(reason)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close({ graceMs: 0 })
  }

  #listeners(): Listener[] {
    return [...(this.#listener ? [this.#listener] : []), ...this.#retired]
  }

  /** A method, because the state may have changed during a wait. */
  #isClosed(): boolean {
    return this.#state === 'closed'
  }

  async #attempt(create: () => ListenerCreation): Promise<ListenerCreation> {
    for (let attempt = 1; ; attempt++) {
      try {
        return create()
      } catch (error) {
        if (attempt === OPEN_ATTEMPTS) throw error
        await pause(this.#deps.clock, OPEN_RETRY_MS * attempt)
      }
    }
  }
}
