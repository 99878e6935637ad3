/**
 * Resolves names to addresses: the hosts file, the special names of RFC 6761, then DNS for both families at once, in
 * the order of RFC 8305.
 *
 * `dns.lookup` is not used: it blocks one of the four threads of the libuv pool for as long as a server is silent, so
 * four slow names from one client would stop everyone else's.
 */
import { promises as dns } from 'node:dns'
import type { Clock, Timer } from '../clock.ts'
import { EndpointError } from '../errors.ts'
import { formatSocketAddress } from '../wire/authority.ts'
import type { IpAddress } from '../wire/ip-address.ts'
import type { SocketAddress } from '../wire/target.ts'
import { HostsFile } from './hosts-file.ts'

const MAX_TTL_MS = 60_000
/** How long `ENOTFOUND` and `ENODATA` are remembered; other failures are not. */
const NEGATIVE_TTL_MS = 5000
const MAX_CACHED_ANSWERS = 4096
/** RFC 8305 section 3: how long the family that answered waits for the other. */
const RESOLUTION_DELAY_MS = 50
const QUERY_TIMEOUT_MS = 2500
const QUERY_TRIES = 3

type Family = 4 | 6

interface CachedAnswer {
  readonly expiresAt: number
  readonly addresses: readonly IpAddress[]
}

interface ResolverOptions {
  /** False: ask for IPv4 only. */
  readonly ipv6: boolean
  /** Empty: the system's. An address may have a zone. */
  readonly servers: readonly SocketAddress[]
  readonly hostsPath: string
  readonly clock: Clock
}

/** IPv6 first, then alternating (RFC 8305 section 4). */
function interleave(ipv6: readonly IpAddress[], ipv4: readonly IpAddress[]): IpAddress[] {
  const result: IpAddress[] = []
  for (let index = 0; index < Math.max(ipv6.length, ipv4.length); index += 1) {
    for (const address of [ipv6[index], ipv4[index]]) if (address !== undefined) result.push(address)
  }
  return result
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}

function notFound(cause?: unknown): EndpointError {
  return new EndpointError('target_refused', 'the name has no address', { cause })
}

/** Settles as `promise` does, or rejects with the signal's reason when that comes first. */
async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(signal.reason)
  signal.addEventListener('abort', onAbort)
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

export class Resolver {
  readonly #dns: dns.Resolver
  readonly #hosts: HostsFile
  readonly #clock: Clock
  readonly #ipv6: boolean
  /** Oldest first. */
  readonly #cache = new Map<string, CachedAnswer>()
  readonly #inFlight = new Map<string, Promise<readonly IpAddress[]>>()

  constructor(options: ResolverOptions) {
    this.#dns = new dns.Resolver({ timeout: QUERY_TIMEOUT_MS, tries: QUERY_TRIES })
    if (options.servers.length > 0) this.#dns.setServers(options.servers.map(formatSocketAddress))
    this.#hosts = new HostsFile(options.hostsPath, options.clock)
    this.#clock = options.clock
    this.#ipv6 = options.ipv6
  }

  /**
   * At least one address, the preferred one first. A family that fails or is late does not hold up the other.
   * @throws EndpointError `target_refused` when there is none; the signal's reason when it fires first.
   */
  async resolve(host: string, { signal }: { signal: AbortSignal }): Promise<IpAddress[]> {
    signal.throwIfAborted()
    const name = host.toLowerCase().replace(/\.$/, '')
    const addresses = await abortable(this.#lookup(name), signal)
    if (addresses.length === 0) throw notFound()
    return addresses
  }

  async #lookup(name: string): Promise<IpAddress[]> {
    const listed = await this.#hosts.lookup(name)
    if (listed !== undefined) return this.#order(listed)
    if (name === 'localhost' || name.endsWith('.localhost')) {
      return this.#order([
        { address: '::1', family: 6 },
        { address: '127.0.0.1', family: 4 },
      ])
    }
    if (name === 'invalid' || name.endsWith('.invalid')) return []
    return this.#ipv6 ? this.#queryBoth(name) : [...(await this.#query(name, 4))]
  }

  #order(addresses: readonly IpAddress[]): IpAddress[] {
    const ipv4 = addresses.filter(({ family }) => family === 4)
    return this.#ipv6
      ? interleave(
          addresses.filter(({ family }) => family === 6),
          ipv4,
        )
      : ipv4
  }

  /** What is known once both families have answered, or a moment after the first one with addresses. */
  async #queryBoth(name: string): Promise<IpAddress[]> {
    const found: Record<Family, readonly IpAddress[]> = { 4: [], 6: [] }
    const delay = Promise.withResolvers<undefined>()
    let timer: Timer | undefined
    const ask = async (family: Family): Promise<void> => {
      found[family] = await this.#query(name, family)
      if (found[family].length === 0) return
      timer ??= this.#clock.after(RESOLUTION_DELAY_MS, () => delay.resolve(undefined))
    }
    const results = await Promise.race([Promise.allSettled([ask(6), ask(4)]), delay.promise])
    timer?.cancel()
    const addresses = interleave(found[6], found[4])
    const failure = results?.find((result) => result.status === 'rejected')
    if (addresses.length === 0 && failure !== undefined) throw failure.reason
    return addresses
  }

  /**
   * One question; identical questions in flight are asked once. An empty answer means that the name has no address of
   * that family.
   */
  #query(name: string, family: Family): Promise<readonly IpAddress[]> {
    const key = `${family} ${name}`
    const cached = this.#cache.get(key)
    if (cached !== undefined && cached.expiresAt > this.#clock.now()) return Promise.resolve(cached.addresses)
    const inFlight = this.#inFlight.get(key)
    if (inFlight !== undefined) return inFlight
    const question = this.#ask(key, name, family).finally(() => this.#inFlight.delete(key))
    this.#inFlight.set(key, question)
    return question
  }

  async #ask(key: string, name: string, family: Family): Promise<readonly IpAddress[]> {
    try {
      const records =
        family === 4
          ? await this.#dns.resolve4(name, { ttl: true })
          : await this.#dns.resolve6(name, { ttl: true })
      const addresses = records.map(({ address }) => ({ address, family }))
      const ttlMs = Math.min(...records.map(({ ttl }) => ttl * 1000), MAX_TTL_MS)
      this.#remember(key, addresses, ttlMs)
      return addresses
    } catch (error) {
      const code = codeOf(error)
      if (code !== dns.NOTFOUND && code !== dns.NODATA) throw notFound(error)
      this.#remember(key, [], NEGATIVE_TTL_MS)
      return []
    }
  }

  #remember(key: string, addresses: readonly IpAddress[], ttlMs: number): void {
    this.#cache.delete(key)
    if (this.#cache.size >= MAX_CACHED_ANSWERS) {
      for (const oldest of this.#cache.keys()) {
        this.#cache.delete(oldest)
        break
      }
    }
    this.#cache.set(key, { addresses, expiresAt: this.#clock.now() + ttlMs })
  }
}
