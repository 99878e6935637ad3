/**
 * Rules on the TLS client random, as far as the export needs them: which rule a prefix meets, and adding a new one to
 * the file.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs'
import { parse } from 'smol-toml'
import { EndpointError } from '../../errors.ts'
import type { InboundRule, RulesSettings } from '../../config/settings.ts'
import { parseHex } from '../../wire/random-prefix.ts'
import type { RandomPrefix } from '../../wire/random-prefix.ts'

/** The first rule that is met by every random starting with `given`. */
export function matchPrefix(rules: RulesSettings, given: RandomPrefix): InboundRule | undefined {
  return rules.inbound.rules.find(({ client_random_prefix: wanted }) => {
    if (wanted === null || given.bytes.length < wanted.bytes.length) return false
    return wanted.bytes.every((byte, at) => {
      const mask = wanted.mask[at] ?? 0
      const fixed = given.mask[at] ?? 0
      return (mask & ~fixed) === 0 && ((byte ^ (given.bytes[at] ?? 0)) & mask) === 0
    })
  })
}

export function matchPskKey(rules: RulesSettings, key: Uint8Array): InboundRule | undefined {
  return rules.inbound.rules.find(
    ({ client_random_psk_key: known }) => known !== null && Buffer.compare(known, key) === 0,
  )
}

interface GeneratedPrefixOptions {
  /** 1 to 32. */
  readonly bytes: number
  /** Share of its bits that are fixed, 1 to 100. */
  readonly percent: number
  /** Hexadecimal, of the same length; used instead of `percent`. */
  readonly mask?: string | undefined
}

/** A new random prefix, `hex/hexmask`. */
export function generatePrefix({ bytes, percent, mask }: GeneratedPrefixOptions): string {
  const given = mask === undefined ? randomMask(bytes, percent) : parseHex(mask)
  if (given?.length !== bytes)
    throw new EndpointError('config_invalid', `the prefix mask must be ${bytes} bytes in hexadecimal`)
  const chosen = Buffer.from(given)
  const prefix = randomBytes(bytes).map((byte, at) => byte & (chosen[at] ?? 0))
  return `${Buffer.from(prefix).toString('hex')}/${chosen.toString('hex')}`
}

/** Sets exactly that share of the bits, at least one, in random places. */
function randomMask(bytes: number, percent: number): Buffer {
  const places = Array.from({ length: bytes * 8 }, (_, index) => index)
  const mask = Buffer.alloc(bytes)
  for (let left = Math.max(1, Math.round((places.length * percent) / 100)); left > 0; left--) {
    const [place = 0] = places.splice(randomInt(places.length), 1)
    mask[place >> 3] = (mask[place >> 3] ?? 0) | (0x80 >> (place & 7))
  }
  return mask
}

/** Puts an `allow` rule for the prefix in front of all others. The file is replaced in one step or not at all. */
export function prependAllowRule(file: string, prefix: string): void {
  const { text, mode } = readRules(file)
  const list =
    /^\s*\[inbound\]/m.test(text) || /^\s*\[\[inbound\.rule\]\]/m.test(text) ? 'inbound.rule' : 'rule'
  const rule = `[[${list}]]\nclient_random_prefix = "${prefix}"\naction = "allow"\n\n`
  const result = insertBeforeList(text, list, rule)
  checkFirst(parse(result), list, prefix, file)
  const temporary = `${file}.new`
  const descriptor = openSync(temporary, 'w', mode)
  try {
    writeSync(descriptor, result)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  renameSync(temporary, file)
}

function readRules(file: string): { text: string; mode: number } {
  try {
    return { text: readFileSync(file, 'utf8'), mode: statSync(file).mode & 0o777 }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return { text: '', mode: 0o644 }
    throw error
  }
}

/** Before the first entry; without one at the end, where no other key of the file can fall into it. */
function insertBeforeList(text: string, list: string, rule: string): string {
  const at = text.search(new RegExp(String.raw`^[ \t]*\[\[${list.replace('.', String.raw`\.`)}\]\]`, 'm'))
  if (at !== -1) return text.slice(0, at) + rule + text.slice(at)
  return text === '' || text.endsWith('\n') ? text + rule : `${text}\n${rule}`
}

/** Does not guess at files that are written in an unusual way (inline tables). */
function checkFirst(rules: unknown, list: string, prefix: string, file: string): void {
  let found: unknown = rules
  for (const key of [...list.split('.'), '0', 'client_random_prefix'])
    found = typeof found === 'object' && found !== null ? (found as Record<string, unknown>)[key] : undefined
  if (found !== prefix)
    throw new EndpointError(
      'config_invalid',
      `${file}: cannot put a rule in front; write it by hand: client_random_prefix = "${prefix}"`,
    )
}
