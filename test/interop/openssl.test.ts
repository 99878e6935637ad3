/** `openssl s_client`: TLS versions, ALPN, and tickets that outlive the certificate. */
import { X509Certificate } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startBrowsableEndpoint } from '../support/browsable-endpoint.ts'
import { createTestCertificate, testCertificate } from '../support/certificate.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { missing, run } from '../support/outside-program.ts'

const absent = missing('openssl')
const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'

interface Handshake {
  readonly code: number | null
  readonly text: string
  /** Of the certificate that the endpoint showed. */
  readonly fingerprint: string | undefined
}

/** One handshake and one request, so that tickets arrive even where they follow the handshake. */
async function shake(endpoint: TestEndpoint, args: readonly string[]): Promise<Handshake> {
  const target = ['-connect', `127.0.0.1:${endpoint.port}`, '-servername', 'localhost']
  const { code, stdout, stderr } = await run('openssl', ['s_client', ...target, '-ign_eof', ...args], {
    input: REQUEST,
  })
  const text = stdout.toString() + stderr
  const [pem] = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(text) ?? []
  return { code, text, fingerprint: pem && new X509Certificate(pem).fingerprint256 }
}

describe.skipIf(absent.any)(`openssl${absent.note}`, () => {
  it.each([
    ['TLS 1.2', '-tls1_2', 'TLSv1.2'],
    ['TLS 1.3', '-tls1_3', 'TLSv1.3'],
  ])('openssl speaks %s, verified', async (_name, flag, version) => {
    await using endpoint = await startBrowsableEndpoint()
    const trusted = ['-CAfile', join(endpoint.directory, 'cert.pem'), '-verify_return_error']
    const { code, text } = await shake(endpoint, [
      flag,
      ...trusted,
      '-verify_hostname',
      'localhost',
      '-alpn',
      'http/1.1',
    ])
    expect(code).toBe(0)
    expect(text).toContain(`New, ${version}, Cipher is`)
    expect(text).toContain('ALPN protocol: http/1.1')
    expect(text).toContain('Verify return code: 0 (ok)')
    expect(text).toMatch(/^HTTP\/1\.1 200 /m)
  })

  it('openssl is told that h2 is better', async () => {
    await using endpoint = await startBrowsableEndpoint()
    const { text } = await shake(endpoint, ['-alpn', 'http/1.1,h2'])
    expect(text).toContain('ALPN protocol: h2')
  })

  it.each(['-tls1', '-tls1_1'])('openssl is refused with %s', async (flag) => {
    await using endpoint = await startBrowsableEndpoint()
    const { code, text } = await shake(endpoint, [flag, '-cipher', 'ALL:@SECLEVEL=0'])
    expect(code).not.toBe(0)
    expect(text).toContain('alert protocol version')
  })

  it.each([
    ['TLS 1.2', '-tls1_2'],
    ['TLS 1.3', '-tls1_3'],
  ])('openssl resumes %s, also when the certificate has changed', async (_name, flag) => {
    await using endpoint = await startBrowsableEndpoint()
    const directory = await mkdtemp(join(tmpdir(), 'culvert-openssl-'))
    const ticket = join(directory, 'session.pem')
    try {
      const first = await shake(endpoint, [flag, '-sess_out', ticket])
      expect(first.text).toContain('New, TLSv1.')
      expect(first.fingerprint).toBe(new X509Certificate(testCertificate().cert).fingerprint256)
      expect((await shake(endpoint, [flag, '-sess_in', ticket])).text).toContain('Reused, TLSv1.')

      const next = createTestCertificate(['vpn.endpoint', 'localhost'])
      await writeFile(join(endpoint.directory, 'key.pem'), next.key)
      await writeFile(join(endpoint.directory, 'cert.pem'), next.cert)
      await endpoint.supervisor.reload()

      const resumed = await shake(endpoint, [flag, '-sess_in', ticket])
      expect(resumed.text).toContain('Reused, TLSv1.')
      expect(resumed.text).toMatch(/^HTTP\/1\.1 200 /m)
      const fresh = await shake(endpoint, [flag])
      expect(fresh.text).toContain('New, TLSv1.')
      expect(fresh.fingerprint).toBe(new X509Certificate(next.cert).fingerprint256)
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})

expectNothingLeftOpen()
