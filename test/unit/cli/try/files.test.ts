import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createSelfSignedCertificate } from '../../../../src/cli/try/certificate.ts'
import { prepareTryFiles, tryDirectory, writeCurlConfig } from '../../../../src/cli/try/files.ts'
import { loadSettings } from '../../../../src/config/load.ts'

const ADDRESSES = { listen: '127.0.0.1:8443', allow: '127.0.0.1:4321' }
let parent = ''
let directory = ''
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'culvert-try-'))
  directory = join(parent, 'with "quotes" and blanks')
})
afterEach(() => rmSync(parent, { recursive: true }))

const modeOf = (path: string) => statSync(path).mode & 0o777

describe('the directory of culvert try', () => {
  it('the directory of culvert try is private and holds valid official files for all three protocols', async () => {
    const files = prepareTryFiles(directory, ADDRESSES)
    const curl = writeCurlConfig(files, { port: 8443, username: 'try', password: 'p"\\' })
    expect(modeOf(directory)).toBe(0o700)
    for (const path of [...Object.values(files).filter((each) => each !== directory), curl])
      expect([path, modeOf(path)]).toEqual([path, 0o600])
    expect(readFileSync(curl, 'utf8')).toContain(String.raw`proxy-user = "try:p\"\\"`)

    const settings = await loadSettings(files.vpn, files.hosts)
    expect(settings.warnings).toEqual([])
    const { http1, http2, quic } = settings.vpn.listen_protocols
    expect([http1, http2, quic]).not.toContain(null)
    expect(settings.vpn.culvert.egress.allow).toEqual([{ address: '127.0.0.1', family: 4, port: 4321 }])
    expect(settings.clients).toMatchObject([{ username: 'try' }])
    expect(settings.clients[0]?.password.length).toBe(24)
  })

  it('the directory of culvert try is used again: same user, same certificate, new page', () => {
    const files = prepareTryFiles(directory, ADDRESSES)
    const read = () =>
      [files.credentials, files.certificate, files.key].map((path) => readFileSync(path, 'utf8'))
    const before = read()
    chmodSync(directory, 0o755)
    prepareTryFiles(directory, { ...ADDRESSES, allow: '127.0.0.1:9' })
    expect(read()).toEqual(before)
    expect(readFileSync(files.vpn, 'utf8')).toContain('allow = ["127.0.0.1:9"]')
    expect(modeOf(directory)).toBe(0o700)
  })

  it('the directory of culvert try has a file for curl of its own when another one runs', () => {
    const files = prepareTryFiles(directory, ADDRESSES)
    const user = { username: 'try', password: 'p' }
    const first = writeCurlConfig(files, { port: 8443, ...user })
    const second = writeCurlConfig(files, { port: 40_000, ...user })
    expect(readFileSync(first, 'utf8')).toContain('localhost:8443')
    expect(readFileSync(second, 'utf8')).toContain('localhost:40000')
    expect(modeOf(second)).toBe(0o600)
  })

  it('the directory of culvert try that cannot be made is a mistake of the operator, who can name another', () => {
    writeFileSync(directory, '')
    expect(() => prepareTryFiles(join(directory, 'below'), ADDRESSES)).toThrow(/ENOTDIR.*CULVERT_TRY_DIR/)
  })

  it('the directory of culvert try gets a new certificate when the old one ends soon or is broken', () => {
    const files = prepareTryFiles(directory, ADDRESSES)
    const soon = createSelfSignedCertificate({ names: ['vpn.endpoint'], days: 20 })
    for (const content of [soon.certificate, 'broken']) {
      writeFileSync(files.certificate, content)
      writeFileSync(files.key, soon.privateKey)
      prepareTryFiles(directory, ADDRESSES)
      expect(readFileSync(files.certificate, 'utf8')).not.toBe(content)
      expect(modeOf(files.key)).toBe(0o600)
    }
  })

  it('the directory of culvert try is where the environment says', () => {
    expect(tryDirectory({ CULVERT_TRY_DIR: '/x' })).toBe('/x')
    expect(tryDirectory({ XDG_STATE_HOME: '/state' })).toBe('/state/culvert/try')
    expect(tryDirectory({ XDG_STATE_HOME: 'relative' })).toMatch(/\/\.local\/state\/culvert\/try$/)
  })
})
