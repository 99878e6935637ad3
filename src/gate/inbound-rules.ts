/**
 * Inbound rules: who may start a session (`docs/protocol.md`). The first rule whose conditions all hold decides, else
 * the default action. Conditions on the TLS random cannot be judged without it: then everybody is denied, whatever the
 * order of the rules, as the reference endpoint does. Over QUIC that is always the case.
 *
 *   client_random_psk_key   random = R 16 | T 16, K = HKDF-SHA256(PSK, salt R, "tls13 encryption context", 16),
 *                           T = AES-128-ECB(K, first 16 bytes of SHA-256(server name))
 */
import type { RuleAction } from '../contract/rule-action.ts'
import { createCipheriv, createHash, hkdfSync, timingSafeEqual } from 'node:crypto'
import { ipBytes } from '../wire/ip-address.ts'
import { prefixHolds } from '../wire/ip-prefix.ts'
import type { IpPrefix } from '../wire/ip-prefix.ts'
import { matchesRandom, RANDOM_BYTES } from '../wire/random-prefix.ts'
import type { RandomPrefix } from '../wire/random-prefix.ts'

/** A condition that is null is always met. */
export interface InboundRule {
  readonly source: IpPrefix | null
  readonly randomPrefix: RandomPrefix | null
  /** Takes the place of the same rule's prefix. */
  readonly pskKey: Uint8Array | null
  readonly action: RuleAction
}

interface InboundRulesOptions {
  readonly defaultAction: RuleAction
  readonly rules: readonly InboundRule[]
}

/** What is known about a connection when it is judged. */
export interface InboundSubject {
  /** Canonical; an IPv4-mapped peer appears as IPv4. */
  readonly address: string
  /** The 32 bytes from the ClientHello; undefined when they are not available. */
  readonly random?: Uint8Array | undefined
  /** As sent, case included: the PSK form is computed over its exact bytes. */
  readonly serverName?: string | undefined
}

export interface Verdict {
  readonly action: RuleAction
  /** Which rule decided, by its place in the list, or why none was consulted. */
  readonly by: number | 'default' | 'no_random' | 'no_server_name' | 'no_address'
}

const PSK_INFO = 'tls13 encryption context'
const PSK_BLOCK_BYTES = 16

export class InboundRules {
  readonly #defaultAction: RuleAction
  readonly #rules: readonly InboundRule[]
  /** Whether any rule looks at the TLS random: over QUIC everybody is then denied, which deserves a warning. */
  readonly needsRandom: boolean
  readonly #needsServerName: boolean

  constructor({ defaultAction, rules }: InboundRulesOptions) {
    this.#defaultAction = defaultAction
    this.#rules = rules
    this.needsRandom = rules.some(looksAtRandom)
    this.#needsServerName = rules.some(({ pskKey }) => pskKey !== null)
  }

  evaluate({ address, random, serverName }: InboundSubject): Verdict {
    if (this.needsRandom && random?.length !== RANDOM_BYTES) return { action: 'deny', by: 'no_random' }
    if (this.#needsServerName && (serverName ?? '') === '') return { action: 'deny', by: 'no_server_name' }
    if (this.#rules.length === 0) return { action: this.#defaultAction, by: 'default' }
    const bytes = ipBytes(address)
    if (bytes === undefined) return { action: 'deny', by: 'no_address' }
    const index = this.#rules.findIndex(
      (rule) =>
        (rule.source === null || prefixHolds(rule.source, bytes)) &&
        (!looksAtRandom(rule) || (random !== undefined && holdsFor(rule, random, serverName ?? ''))),
    )
    const rule = this.#rules[index]
    return rule === undefined
      ? { action: this.#defaultAction, by: 'default' }
      : { action: rule.action, by: index }
  }
}

function looksAtRandom({ randomPrefix, pskKey }: InboundRule): boolean {
  return randomPrefix !== null || pskKey !== null
}

function holdsFor({ randomPrefix, pskKey }: InboundRule, random: Uint8Array, serverName: string): boolean {
  if (pskKey !== null)
    return timingSafeEqual(pskTag(pskKey, random, serverName), random.subarray(PSK_BLOCK_BYTES))
  return randomPrefix === null || matchesRandom(randomPrefix, random)
}

/** The T of the header's formula, for the R that `random` begins with. */
function pskTag(key: Uint8Array, random: Uint8Array, serverName: string): Buffer {
  const derived = hkdfSync('sha256', key, random.subarray(0, PSK_BLOCK_BYTES), PSK_INFO, PSK_BLOCK_BYTES)
  const cipher = createCipheriv('aes-128-ecb', Buffer.from(derived), null).setAutoPadding(false)
  const digest = createHash('sha256').update(serverName, 'latin1').digest()
  return cipher.update(digest.subarray(0, PSK_BLOCK_BYTES))
}
