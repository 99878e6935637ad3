/**
 * The machine's own addresses. A service that listens on a public address behind the host's firewall is as private as
 * one on loopback: a client must not reach it just because its connection comes from inside.
 */
import { networkInterfaces } from 'node:os'
import type { Clock } from '../clock.ts'
import { normalizePeerAddress } from '../wire/ip-kind.ts'

/** How long an address may have appeared or disappeared without being noticed. */
const READ_EVERY_MS = 5000

interface OwnAddressesOptions {
  readonly clock: Clock
  /** As text, with or without a zone. */
  readonly read: () => readonly string[]
}

/** Addresses of all interfaces that are up. */
export function readInterfaceAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map(({ address }) => address))
}

export class OwnAddresses {
  readonly #options: OwnAddressesOptions
  #addresses: ReadonlySet<string> = new Set()
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
    return this.#addresses.has(address)
  }

  /** What was read last stays when the system refuses, but without any list nothing may be dialled. */
  #read(): void {
    try {
      const texts = this.#options.read()
      this.#addresses = new Set(texts.map((text) => normalizePeerAddress(text)?.address ?? text))
    } catch (error) {
      if (this.#readAt === -Infinity) throw error
    }
  }
}
