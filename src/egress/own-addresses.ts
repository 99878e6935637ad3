/**
 * The machine's own addresses. A service that listens on a public address behind the host's firewall is as private as
 * one on loopback: a client must not reach it just because its connection comes from inside.
 */
import { networkInterfaces } from 'node:os'
import type { Clock } from '../clock.ts'
import { formatIp, ipBytes } from '../wire/ip-address.ts'
import { parseIpPrefix, prefixHolds } from '../wire/ip-prefix.ts'
import type { IpPrefix } from '../wire/ip-prefix.ts'
import { readLocalRoutes } from './local-routes.ts'

/** How long an address may have appeared or disappeared without being noticed. */
const READ_EVERY_MS = 5000

interface OwnAddressesOptions {
  readonly clock: Clock
  /** Addresses, with or without a zone, and ranges, as text. */
  readonly read: () => readonly string[]
}

/** What Node knows on every system, and what Linux says beyond that. */
export function readOwnAddresses(): string[] {
  const interfaces = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  return [...interfaces.map(({ address }) => address), ...readLocalRoutes()]
}

export class OwnAddresses {
  readonly #options: OwnAddressesOptions
  #addresses: ReadonlySet<string> = new Set()
  #ranges: readonly IpPrefix[] = []
  #readAt = -Infinity

  constructor(options: OwnAddressesOptions) {
    this.#options = options
  }

  /** `address` is canonical. */
  has(address: string): boolean {
    const now = this.#options.clock.now()
    if (now - this.#readAt >= READ_EVERY_MS) {
      this.#read()
      this.#readAt = now
    }
    return this.#addresses.has(address) || this.#isInRange(address)
  }

  /** What was read last stays when the system refuses, but without any list nothing may be dialled. */
  #read(): void {
    try {
      const prefixes = this.#options.read().flatMap((text) => parseIpPrefix(withoutZone(text)) ?? [])
      this.#addresses = new Set(prefixes.filter(isSingle).map(({ bytes }) => formatIp(bytes)))
      this.#ranges = prefixes.filter((prefix) => !isSingle(prefix))
    } catch (error) {
      if (this.#readAt === -Infinity) throw error
    }
  }

  #isInRange(address: string): boolean {
    if (this.#ranges.length === 0) return false
    const bytes = ipBytes(address)
    return bytes !== undefined && this.#ranges.some((range) => prefixHolds(range, bytes))
  }
}

function isSingle({ bytes, bits }: IpPrefix): boolean {
  return bits === bytes.length * 8
}

function withoutZone(text: string): string {
  return text.replace(/%.*/, '')
}
