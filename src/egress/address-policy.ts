/**
 * Which addresses may be reached at all. Everything that leaves the endpoint is checked here, with the address that is
 * really used: literals, what a name resolved to, UDP flows and echo requests alike.
 *
 * The tables are those of the IANA special-purpose registries (RFC 6890) as the reference endpoint reads them; where it
 * says nothing, whatever cannot be reached from the Internet is private. IPv4 inside IPv6 is judged as IPv4, so
 * `::ffff:127.0.0.1` is loopback (the reference endpoint calls it private). The machine's own addresses are private in
 * whatever range they are.
 */
import { EndpointError, type RefusalCode } from '../errors.ts'
import { formatIp, ipBytes } from '../wire/ip-address.ts'
import { embeddedIpv4, teredoClient, unmapped } from '../wire/ip-kind.ts'
import { parseIpPrefix, prefixHolds, type IpPrefix } from '../wire/ip-prefix.ts'
import type { SocketAddress } from '../wire/target.ts'

/** `never` stays closed whatever the configuration says: one packet would reach many receivers. */
type Verdict = 'global' | 'private' | 'loopback' | 'never'

/** The first match decides. */
const IPV4_RANGES: readonly (readonly [string, Verdict])[] = [
  ['0.0.0.0/8', 'private'], // "this network"; Linux takes 0.0.0.0 for loopback
  ['10.0.0.0/8', 'private'],
  ['100.64.0.0/10', 'private'], // shared address space, RFC 6598
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'private'],
  ['172.16.0.0/12', 'private'],
  ['192.0.0.9/32', 'global'], // port control anycast, RFC 7723
  ['192.0.0.10/32', 'global'], // TURN anycast, RFC 8155
  ['192.0.0.0/24', 'private'],
  ['192.0.2.0/24', 'private'],
  ['192.168.0.0/16', 'private'],
  ['198.18.0.0/15', 'private'], // benchmarking, RFC 2544
  ['198.51.100.0/24', 'private'],
  ['203.0.113.0/24', 'private'],
  ['224.0.0.0/4', 'never'],
  ['255.255.255.255/32', 'never'],
  ['240.0.0.0/4', 'private'],
]

/** Consulted after the forms that carry IPv4. The first match decides. */
const IPV6_RANGES: readonly (readonly [string, Verdict])[] = [
  ['::1/128', 'loopback'],
  ['::/128', 'private'],
  ['::ffff:0:0:0/96', 'private'], // IPv4-translated, RFC 2765
  ['64:ff9b:1::/48', 'private'], // local NAT64, RFC 8215
  ['100::/64', 'private'], // discard-only, RFC 6666
  ['100:0:0:1::/64', 'private'], // dummy prefix, RFC 9780
  ['2001:2::/48', 'private'], // benchmarking, RFC 5180
  ['2001:db8::/32', 'private'],
  ['3fff::/20', 'private'], // documentation, RFC 9637
  ['5f00::/16', 'private'], // segment routing, RFC 9602
  ['fc00::/7', 'private'],
  ['fe80::/10', 'private'],
  ['fec0::/10', 'private'], // site-local, RFC 3879
  ['ff00::/8', 'never'],
]

interface Range {
  readonly prefix: IpPrefix
  readonly verdict: Verdict
}

function compile(table: readonly (readonly [string, Verdict])[]): readonly Range[] {
  return table.map(([text, verdict]) => {
    const prefix = parseIpPrefix(text)
    if (prefix === undefined) throw new EndpointError('internal', `${text} is no range`)
    return { prefix, verdict }
  })
}

const IPV4 = compile(IPV4_RANGES)
const IPV6 = compile(IPV6_RANGES)

function find(ranges: readonly Range[], bytes: Uint8Array): Verdict {
  for (const range of ranges) if (prefixHolds(range.prefix, bytes)) return range.verdict
  return 'global'
}

export interface AddressPolicyOptions {
  /** `allow_private_network_connections`: opens everything but multicast and broadcast. */
  readonly allowPrivate: boolean
  /** `ipv6_available`. */
  readonly ipv6: boolean
  /**
   * Exactly these may always be reached, whatever range they are in. Canonical, IPv4-mapped as IPv4. Port 0 stands for
   * echo requests.
   */
  readonly exemptions: readonly SocketAddress[]
}

/** The part of `OwnAddresses` that the policy needs. */
interface KnownAddresses {
  /** `address` is canonical. */
  has(address: string): boolean
}

export class AddressPolicy {
  readonly #allowPrivate: boolean
  readonly #ipv6: boolean
  readonly #own: KnownAddresses
  /** Addresses by port: nearly every question is settled by the port. */
  readonly #exemptions = new Map<number, Set<string>>()

  /** @param own the machine's addresses. */
  constructor(options: AddressPolicyOptions, own: KnownAddresses) {
    this.#own = own
    this.#allowPrivate = options.allowPrivate
    this.#ipv6 = options.ipv6
    for (const { address, port } of options.exemptions) {
      const addresses = this.#exemptions.get(port) ?? new Set()
      this.#exemptions.set(port, addresses.add(address))
    }
  }

  /**
   * Why `address` may not be reached (`target_loopback`, `target_private`, or `target_unreachable` for IPv6 when there
   * is none); undefined when it may. `address` is text without brackets or zone; text that is not an address gives
   * `target_refused`.
   */
  refusal(address: string, port: number): RefusalCode | undefined {
    const bytes = ipBytes(address)
    if (bytes === undefined) return 'target_refused'
    if (this.#exemptions.get(port)?.has(formatIp(unmapped(bytes))) === true) return undefined
    const verdict = this.#judge(bytes)
    if (verdict === 'never') return 'target_private'
    if (!this.#allowPrivate && verdict === 'loopback') return 'target_loopback'
    if (!this.#allowPrivate && verdict === 'private') return 'target_private'
    // An IPv4-mapped address is reached over IPv4.
    return this.#ipv6 || unmapped(bytes).length === 4 ? undefined : 'target_unreachable'
  }

  #judge(bytes: Uint8Array): Verdict {
    const inner = bytes.length === 4 ? bytes : (embeddedIpv4(bytes) ?? teredoClient(bytes))
    const verdict = inner === undefined ? find(IPV6, bytes) : find(IPV4, inner)
    return verdict === 'global' && this.#own.has(formatIp(inner ?? bytes)) ? 'private' : verdict
  }
}
