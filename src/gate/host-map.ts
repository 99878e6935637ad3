/**
 * Which host a server name is for (`docs/protocol.md`). In this order: host names, their aliases (`allowed_sni`), names
 * that are passed on; first all that match exactly, then wildcards of one level (`*.example.com`). The case does not
 * matter.
 */
import type { Channel } from '../contract/session.ts'
import type { PassTarget } from '../wire/target.ts'

export interface HostEntry {
  readonly channel: Channel
  /** Exact, or with a leading `*.`. */
  readonly hostname: string
  /** Further names for the same host. */
  readonly allowedSni: readonly string[]
}

export interface PassEntry {
  /** Empty: every name that nothing else knows. */
  readonly names: readonly string[]
  readonly to: PassTarget
}

export interface HostMapOptions {
  /** All hosts in the order of their certificates. */
  readonly hosts: readonly HostEntry[]
  readonly pass: readonly PassEntry[]
}

export type Route =
  /** `certificateIndex` is the host's place in {@link HostMapOptions.hosts}. */
  | { readonly kind: 'host'; readonly channel: Channel; readonly certificateIndex: number }
  | { readonly kind: 'pass'; readonly to: PassTarget }

export class HostMap {
  readonly #exact = new Map<string, Route>()
  /** By what follows `*.`. */
  readonly #wildcards = new Map<string, Route>()
  /** For a name that is not known but must be answered: the decoy with the first main host's certificate. */
  readonly decoy: Route
  /** Where unknown names are passed on to, when that is wanted; undefined when no entry says so. */
  readonly passAll: Route | undefined

  constructor({ hosts, pass }: HostMapOptions) {
    const routes = hosts.map(({ channel }, certificateIndex): Route => ({
      kind: 'host',
      channel,
      certificateIndex,
    }))
    hosts.forEach(({ hostname }, index) => this.#add(hostname, routes[index]))
    hosts.forEach(({ allowedSni }, index) => allowedSni.forEach((name) => this.#add(name, routes[index])))
    for (const { names, to } of pass) for (const name of names) this.#add(name, { kind: 'pass', to })
    const main = hosts.findIndex(({ channel }) => channel === 'main')
    this.decoy = { kind: 'host', channel: 'decoy', certificateIndex: Math.max(main, 0) }
    const rest = pass.find(({ names }) => names.length === 0)
    this.passAll = rest && { kind: 'pass', to: rest.to }
  }

  /** Undefined for a name that is not known, and for none. */
  find(serverName: string | undefined): Route | undefined {
    if (serverName === undefined) return undefined
    const name = normalize(serverName)
    const exact = this.#exact.get(name)
    if (exact !== undefined || this.#wildcards.size === 0) return exact
    const dot = name.indexOf('.')
    return dot > 0 ? this.#wildcards.get(name.slice(dot + 1)) : undefined
  }

  /** Keeps what was added first. */
  #add(name: string, route: Route | undefined): void {
    if (route === undefined) return
    const wildcard = name.startsWith('*.')
    const table = wildcard ? this.#wildcards : this.#exact
    const key = normalize(wildcard ? name.slice(2) : name)
    if (!table.has(key)) table.set(key, route)
  }
}

/** Lower case, without the root dot, which RFC 6066 forbids but some send. */
function normalize(name: string): string {
  const lower = name.toLowerCase()
  return lower.endsWith('.') ? lower.slice(0, -1) : lower
}
