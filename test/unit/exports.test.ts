/**
 * Exported means used elsewhere. What only tests import is a part that they look at, used in its own file; code that
 * serves nobody but tests is listed here with its reason.
 */
import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

/** The client's half of a codec: the endpoint speaks the other one, and the tests are its client. */
const FOR_TESTS = new Set([
  'src/wire/authority.ts formatAuthority',
  'src/wire/basic-auth.ts encodeBasicAuth',
  'src/wire/deep-link.ts decodeDeepLink',
  'src/wire/http2/hpack-encoder.ts encodeFields',
  'src/wire/icmp-frame.ts IcmpReplyDecoder',
  'src/wire/icmp-frame.ts encodeIcmpRequest',
  'src/wire/udp-frame.ts UdpDownlinkDecoder',
  'src/wire/udp-frame.ts encodeAddressing',
  'src/wire/udp-frame.ts encodeUdpUplink',
])

interface Source {
  readonly path: string
  readonly text: string
}

const DEFINITION = /^export (?:async )?(?:abstract )?(?:function\*?|class|const|let|interface|type) (\w+)/gm
const NAMED_IMPORT = /(?:import|export)\s+(?:type\s+)?\{([^}]*)\}\s+from\s+'([^']+)'/g
const WHOLE_IMPORT = /import\s+(?:type\s+)?\* as (\w+)\s+from\s+'([^']+)'/g
const LATE_IMPORT = /\{([^{}]*)\}\s*=\s*await import\('([^']+)'\)/g
const LATE_MEMBER = /\(await import\('([^']+)'\)\)\.(\w+)/g
const COMMENT = /\/\*[^]*?\*\/|\/\/.*$/gm

function readSources(directory: string): Source[] {
  return readdirSync(join(ROOT, directory), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(directory, name))
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
}

/** `file name` for everything that the files of `sources` import. */
function namesUsed(sources: readonly Source[]): Set<string> {
  const used = new Set<string>()
  for (const { path, text } of sources) {
    const fileOf = (specifier: string): string => normalize(join(dirname(path), specifier))
    for (const pattern of [NAMED_IMPORT, LATE_IMPORT])
      for (const [, names = '', specifier = ''] of text.matchAll(pattern))
        for (const name of names.split(','))
          used.add(
            `${fileOf(specifier)} ${name
              .trim()
              .replace(/^type /, '')
              .replace(/(?: as |: ).*$/, '')}`,
          )
    for (const [, specifier = '', name = ''] of text.matchAll(LATE_MEMBER))
      used.add(`${fileOf(specifier)} ${name}`)
    for (const [, whole = '', specifier = ''] of text.matchAll(WHOLE_IMPORT))
      for (const [, name = ''] of text.matchAll(new RegExp(`\\b${whole}\\.(\\w+)`, 'g')))
        used.add(`${fileOf(specifier)} ${name}`)
  }
  return used
}

/** Whether the file itself uses `name` beyond its definition. */
function usesItself({ text }: Source, name: string): boolean {
  return text.replace(COMMENT, '').split(new RegExp(`\\b${name}\\b`)).length > 2
}

const source = readSources('src')
const exported = source.flatMap((file) =>
  [...file.text.matchAll(DEFINITION)].map(([, name = '']) => ({ file, name, key: `${file.path} ${name}` })),
)
const usedByCode = namesUsed([...source, ...readSources('scripts')])
const usedByTests = namesUsed(readSources('test'))

describe('what src exports', () => {
  it('what src exports is seen', () => {
    expect(exported.length).toBeGreaterThan(300)
    expect(usedByCode).toContain('src/clock.ts systemClock')
  })

  it('every export of src is used by another file', () => {
    const unused = exported.filter(({ key }) => !usedByCode.has(key) && !usedByTests.has(key))
    expect(unused.map(({ key }) => key)).toEqual([])
  })

  it('nothing in src serves tests alone but what is listed', () => {
    const forTests = exported.filter(
      ({ key, name, file }) => !usedByCode.has(key) && usedByTests.has(key) && !usesItself(file, name),
    )
    expect(new Set(forTests.map(({ key }) => key))).toEqual(FOR_TESTS)
  })
})
