/** The reference page and the samples are up to date with the field table, and the samples leave out no key. */
import { readFileSync } from 'node:fs'
import { parse } from 'smol-toml'
import { describe, expect, it } from 'vitest'
import { OFFICIAL_FILES } from '../../../src/config/official-files.ts'
import { renderReferencePage } from '../../../src/config/docs/reference-page.ts'
import { renderSample } from '../../../src/config/docs/sample-file.ts'
import type { Fields } from '../../../src/config/schema.ts'
import { ConfigDirectory } from '../../support/config-directory.ts'

const read = (path: string) => readFileSync(new URL(`../../../docs/${path}`, import.meta.url), 'utf8')

/** Every key that a file mentions, even when it is switched off, as paths without list positions. */
function keysOf(sample: string): Set<string> {
  const paths = new Set<string>()
  const walk = (value: unknown, path: string): void => {
    if (path !== '') paths.add(path)
    if (Array.isArray(value)) for (const each of value) walk(each, path)
    else if (typeof value === 'object' && value !== null)
      for (const [key, inner] of Object.entries(value)) walk(inner, path === '' ? key : `${path}.${key}`)
  }
  walk(parse(sample.replaceAll(/^#(?=\S)/gm, '')), '')
  return paths
}

function pathsOf(fields: Fields, path = ''): string[] {
  return Object.entries(fields).flatMap(([key, field]) => {
    const here = path === '' ? key : `${path}.${key}`
    return 'fields' in field ? [here, ...pathsOf(field.fields, here)] : [here]
  })
}

describe('docs', () => {
  it('docs/configuration.md is up to date (npm run docs)', () => {
    expect(read('configuration.md')).toBe(renderReferencePage())
  })

  it.each(OFFICIAL_FILES)('docs/sample/$name is up to date (npm run docs)', (file) => {
    expect(read(`sample/${file.name}`)).toBe(renderSample(file))
  })

  it.each(OFFICIAL_FILES)('docs/sample/$name sets every key and no other', (file) => {
    expect([...keysOf(renderSample(file))].toSorted()).toEqual(pathsOf(file.fields).toSorted())
  })

  it('a sample that lost a key would be noticed', () => {
    const [vpn] = OFFICIAL_FILES
    const paths = keysOf(renderSample(vpn!).replace(/^#?queue_bytes.*$/m, ''))
    expect(pathsOf(vpn!.fields).filter((path) => !paths.has(path))).toEqual(['culvert.udp.queue_bytes'])
  })

  it('the samples together are valid, change no default, and warn of nothing but their password', async () => {
    const samples = Object.fromEntries(OFFICIAL_FILES.map(({ name }) => [name, read(`sample/${name}`)]))
    using directory = new ConfigDirectory({
      ...samples,
      'hosts.toml': samples['hosts.toml']!.replaceAll('certs/', ''),
    })
    const settings = await directory.load()
    expect(settings.warnings).toEqual([
      expect.objectContaining({ path: 'client[0]', message: expect.stringContaining('that of the sample') }),
    ])
    using plain = new ConfigDirectory({
      'vpn.toml':
        'credentials_file = "credentials.toml"\n[listen_protocols]\nhttp1 = {}\nhttp2 = {}\nquic = {}',
    })
    const { credentials_file: _, rules_file: __, ...withSample } = settings.vpn
    expect((await plain.load()).vpn).toMatchObject(withSample)
  })
})
