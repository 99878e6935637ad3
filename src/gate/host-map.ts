/**
 * Which host a server name is for (`docs/protocol.md`). Tried in this order: host names, their aliases (`allowed_sni`),
 * names that are passed on; first all exact matches, then wildcards of one level (`*.example.com`). Case does not
 * matter.
 */
import type { Host } from '../contract/gated-connection.ts'
import type { Channel } from '../contract/session.ts'
import { normalizeServerName, parentOf } from '../wire/host-name.ts'
import type { PassTarget } from '../wire/target.ts'

interface PassEntry {
  /** Empty: every name that nothing else matches. */
  readonly names: readonly string[]
  readonly to: PassTarget
}

export interface HostMapOptions {
  readonly hosts: readonly Host[]
  readonly pass: readonly PassEntry[]
}

export type Route =
  | { readonly kind: 'host'; readonly channel: Channel; readonly host: Host }
  | { readonly kind: 'pass'; readonly to: PassTarget }

export class HostMap {
  readonly #exact = new Map<string, Route>()
  /** Keyed by what follows `*.`. */
  readonly #wildcards = new Map<string, Route>()
  /** For an unknown name that must be answered: the first main host stands in. Undefined without hosts. */
  readonly decoy: Route | undefined
  /** Where unknown names are passed on to; undefined when no entry asks for that. */
  readonly passAll: Route | undefined

  constructor({ hosts, pass }: HostMapOptions) {
    for (const host of hosts) this.#add(host.hostname, { kind: 'host', channel: host.channel, host })
    for (const host of hosts)
      for (const name of host.allowedSni) this.#add(name, { kind: 'host', channel: host.channel, host })
    for (const { names, to } of pass) for (const name of names) this.#add(name, { kind: 'pass', to })
    const host = hosts.find(({ channel }) => channel === 'main') ?? hosts[0]
    this.decoy = host && { kind: 'host', channel: 'decoy', host }
    const rest = pass.find(({ names }) => names.length === 0)
    this.passAll = rest && { kind: 'pass', to: rest.to }
  }

  /** Undefined for an unknown name, and when there is none. */
  find(serverName: string | undefined): Route | undefined {
    if (serverName === undefined) return undefined
    const name = normalizeServerName(serverName)
    const exact = this.#exact.get(name)
    if (exact !== undefined || this.#wildcards.size === 0) return exact
    const dot = name.indexOf('.')
    return dot > 0 ? this.#wildcards.get(name.slice(dot + 1)) : undefined
  }

  /** The first route added for a name stays. */
  #add(pattern: string, route: Route): void {
    const parent = parentOf(pattern)
    const table = parent === undefined ? this.#exact : this.#wildcards
    const key = parent ?? pattern
    if (!table.has(key)) table.set(key, route)
  }
}
