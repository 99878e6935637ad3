/**
 * Inbound rules: who may begin a session (`docs/protocol.md`). The first rule whose conditions all hold decides, else the
 * default action. Conditions on the TLS random cannot be judged without it: then everybody is denied, whatever
 * the order of the rules, as with the reference endpoint. Over QUIC that is always so.
 *
 *   client_random_psk_key   random = R 16 | T 16, K = HKDF-SHA256(PSK, salt R, "tls13 encryption context", 16),
 *                           T = AES-128-ECB(K, first 16 bytes of SHA-256(server name))
 */
import { createCipheriv, createHash, hkdfSync, timingSafeEqual } from 'node:crypto'
import { EndpointError } from '../errors.ts'
import { ipBytes } from '../wire/ip-address.ts'
import { parseIpPrefix, prefixHolds } from '../wire/ip-prefix.ts'
import type { IpPrefix } from '../wire/ip-prefix.ts'

export type RuleAction = 'allow' | 'deny'

/** One rule as the file has it; a condition that is null or missing always holds. */
export interface InboundRule {
  readonly cidr?: string | null
  /** `hex` or `hex/hexmask`. */
  readonly clientRandomPrefix?: string | null
  /** Hexadecimal; counts instead of the prefix of the same rule. */
  readonly clientRandomPskKey?: string | null
  readonly action: RuleAction
}

export interface InboundRulesOptions {
  readonly defaultAction: RuleAction
  readonly rules: readonly InboundRule[]
}

/** What is known of a connection when it is judged. */
export interface InboundSubject {
  /** Canonical; an IPv4-mapped peer is given as IPv4. */
  readonly address: string
  /** The 32 bytes of the ClientHello; undefined when they could not be had. */
  readonly random?: Uint8Array | undefined
  /** As sent, case included: the PSK form signs its bytes. */
  readonly serverName?: string | undefined
}

export interface Verdict {
  readonly action: RuleAction
  /** The rule that decided, by its place in the list, or why none was asked. */
  readonly by: number | 'default' | 'no_random' | 'no_server_name' | 'no_address'
}

const RANDOM_BYTES = 32
const PSK_INFO = 'tls13 encryption context'
const PSK_BLOCK_BYTES = 16
const HEX = /^(?:[0-9a-f]{2})+$/i

interface CompiledRule {
  readonly action: RuleAction
  readonly prefix: IpPrefix | undefined
  readonly random: ((random: Uint8Array, serverName: string) => boolean) | undefined
}

export class InboundRules {
  readonly #defaultAction: RuleAction
  readonly #rules: readonly CompiledRule[]
  /** Whether some rule looks at the TLS random: over QUIC then everybody is denied, which deserves a warning. */
  readonly needsRandom: boolean
  readonly #needsServerName: boolean

  /** @throws EndpointError `config_invalid` that names every condition which cannot be read. */
  constructor({ defaultAction, rules }: InboundRulesOptions) {
    const problems: string[] = []
    this.#defaultAction = defaultAction
    this.#rules = rules.map((rule, index) =>
      compileRule(rule, (key) => void problems.push(`rule[${index}].${key}`)),
    )
    if (problems.length > 0) {
      throw new EndpointError('config_invalid', `inbound rules cannot be read: ${problems.join(', ')}`)
    }
    this.needsRandom = this.#rules.some((rule) => rule.random !== undefined)
    this.#needsServerName = rules.some((rule) => isPresent(rule.clientRandomPskKey))
  }

  evaluate({ address, random, serverName }: InboundSubject): Verdict {
    if (this.needsRandom && random?.length !== RANDOM_BYTES) return { action: 'deny', by: 'no_random' }
    if (this.#needsServerName && (serverName ?? '') === '') return { action: 'deny', by: 'no_server_name' }
    if (this.#rules.length === 0) return { action: this.#defaultAction, by: 'default' }
    const bytes = ipBytes(address)
    if (bytes === undefined) return { action: 'deny', by: 'no_address' }
    const index = this.#rules.findIndex(
      (rule) =>
        (rule.prefix === undefined || prefixHolds(rule.prefix, bytes)) &&
        (rule.random === undefined || (random !== undefined && rule.random(random, serverName ?? ''))),
    )
    const rule = this.#rules[index]
    return rule === undefined
      ? { action: this.#defaultAction, by: 'default' }
      : { action: rule.action, by: index }
  }
}

function isPresent(text: string | null | undefined): text is string {
  return text !== undefined && text !== null
}

function compileRule(rule: InboundRule, problem: (key: string) => void): CompiledRule {
  const { action, cidr, clientRandomPrefix, clientRandomPskKey } = rule
  const prefix = isPresent(cidr) ? parseIpPrefix(cidr) : undefined
  if (isPresent(cidr) && prefix === undefined) problem('cidr')
  if (isPresent(clientRandomPskKey)) {
    if (!HEX.test(clientRandomPskKey)) problem('client_random_psk_key')
    return { action, prefix, random: matchPskKey(Buffer.from(clientRandomPskKey, 'hex')) }
  }
  if (!isPresent(clientRandomPrefix)) return { action, prefix, random: undefined }
  const [bytes = '', mask, ...rest] = clientRandomPrefix.split('/')
  if (rest.length > 0 || !HEX.test(bytes) || (mask !== undefined && !HEX.test(mask))) {
    problem('client_random_prefix')
  }
  return { action, prefix, random: matchPrefix(bytes, mask) }
}

/** Without a mask all of the prefix counts; with one, as many bytes as both have. */
function matchPrefix(prefixHex: string, maskHex: string | undefined): CompiledRule['random'] {
  const prefix = Buffer.from(prefixHex, 'hex')
  if (maskHex === undefined) {
    return (random) => prefix.every((byte, index) => random[index] === byte)
  }
  const mask = Buffer.from(maskHex, 'hex')
  const compared = Math.min(mask.length, prefix.length, RANDOM_BYTES)
  return (random) => {
    for (let index = 0; index < compared; index += 1) {
      if ((((random[index] ?? 0) ^ (prefix[index] ?? 0)) & (mask[index] ?? 0)) !== 0) return false
    }
    return true
  }
}

function matchPskKey(key: Buffer): CompiledRule['random'] {
  return (random, serverName) =>
    timingSafeEqual(pskTag(key, random, serverName), random.subarray(PSK_BLOCK_BYTES))
}

/** T of the header's formula for the R that `random` begins with. */
function pskTag(key: Buffer, random: Uint8Array, serverName: string): Buffer {
  const derived = hkdfSync('sha256', key, random.subarray(0, PSK_BLOCK_BYTES), PSK_INFO, PSK_BLOCK_BYTES)
  const cipher = createCipheriv('aes-128-ecb', Buffer.from(derived), null).setAutoPadding(false)
  const digest = createHash('sha256').update(serverName, 'latin1').digest()
  return cipher.update(digest.subarray(0, PSK_BLOCK_BYTES))
}
