/** Asking the script for help replaced the certificate in use: it took `--help` for a name. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const SCRIPT = join(import.meta.dirname, '../../../scripts/make-certificate.ts')
let directory: string

function make(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [SCRIPT, '--directory', directory, ...args], { encoding: 'utf8' })
}

function read(name: string): string {
  return readFileSync(join(directory, name), 'utf8')
}

describe('make-certificate', () => {
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'culvert-certificate-'))
    writeFileSync(join(directory, 'cert.pem'), 'in use')
  })
  afterEach(() => rmSync(directory, { recursive: true }))

  it.each([
    ['--help', 0],
    ['--nonsense', 2],
    ['vpn.endpoint', 1],
  ])('make-certificate keeps what is there with %s', (arg, status) => {
    expect(make(arg)).toMatchObject({ status })
    expect(read('cert.pem')).toBe('in use')
  })

  it('make-certificate replaces what is there with --force, with a key for its owner alone', () => {
    expect(make('--force', 'vpn.endpoint')).toMatchObject({ status: 0, stderr: '' })
    expect(read('cert.pem')).toContain('BEGIN CERTIFICATE')
    expect(statSync(join(directory, 'key.pem')).mode & 0o777).toBe(0o600)
  })
})
