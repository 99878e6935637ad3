/** What the log says about requests that were refused or failed, and about sessions, as far as privacy allows. */
import { isRefusal } from '../errors.ts'
import { clientFields, faultFields, targetFields } from '../log.ts'
import type { Log, Privacy } from '../log.ts'
import { systemCodeOf } from './refusal.ts'
import type { Refusal } from './refusal.ts'
import type { CredentialFault, SessionRecord } from './session-record.ts'
import type { Exchange } from '../contract/exchange.ts'
import type { Session } from '../contract/session.ts'
import type { User } from '../contract/user.ts'

/** What is known about a refused request besides its answer. */
export interface Why {
  readonly user?: User
  readonly error?: unknown
  readonly fault?: CredentialFault
}

const FAULT_MESSAGE = 'a request failed in a way that should not happen'

export class DispatchLog {
  readonly #log: Log
  readonly #privacy: Privacy

  constructor(log: Log, privacy: Privacy) {
    this.#log = log
    this.#privacy = privacy
  }

  /** Without a status, the answer is whatever page the site has for the request. */
  onRefusal(
    exchange: Exchange,
    { code, status }: Pick<Refusal, 'code'> & Partial<Refusal>,
    { user, error, fault }: Why,
  ): void {
    const cause = systemCodeOf(error)
    const fields = {
      code,
      status,
      ...this.#fieldsOf(exchange, user),
      ...(cause !== undefined && { cause }),
      ...(fault && { reason: fault }),
    }
    // Answered like a refusal, because the client cannot tell and need not know.
    if (error !== undefined && !isRefusal(error)) {
      this.#log.error({ ...fields, ...faultFields(this.#privacy, error) }, FAULT_MESSAGE)
    } else {
      const reason = this.#privacy === 'full' && error !== undefined && { reason: error.message }
      this.#log.info({ ...fields, ...reason }, 'request refused')
    }
  }

  /** A fault of ours of which no answer tells. */
  onFault(exchange: Exchange, user: User | undefined, error: unknown): void {
    const fields = { ...this.#fieldsOf(exchange, user), ...faultFields(this.#privacy, error) }
    this.#log.error(fields, FAULT_MESSAGE)
  }

  onCutOffFailed(session: Session, error: unknown): void {
    const fields = { session: session.id, ...faultFields(this.#privacy, error) }
    this.#log.error(fields, 'a session could not be cut off')
  }

  onSessionEnd(session: Session, record: SessionRecord, durationMs: number, error: Error | undefined): void {
    this.#log.info(
      {
        session: session.id,
        user: record.userName,
        protocol: session.protocol,
        ...clientFields(this.#privacy, session.remoteAddress),
        durationMs: Math.round(durationMs),
        requests: record.requests,
        streams: record.tunnels,
        uplinkBytes: record.uplinkBytes,
        downlinkBytes: record.downlinkBytes,
        ...(error && { error: error.message }),
      },
      'session ended',
    )
  }

  /** Whose request it is, and for what. */
  #fieldsOf({ session, authority }: Exchange, user: User | undefined): object {
    return {
      session: session.id,
      protocol: session.protocol,
      ...(user && { user: user.name }),
      ...clientFields(this.#privacy, session.remoteAddress),
      ...targetFields(this.#privacy, authority),
    }
  }
}
