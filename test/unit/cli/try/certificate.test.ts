import { execFileSync, spawnSync } from 'node:child_process'
import { X509Certificate, createPrivateKey } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, createServer } from 'node:tls'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as der from '../../../../src/cli/try/der.ts'
import { createSelfSignedCertificate } from '../../../../src/cli/try/certificate.ts'

const NAMES = ['vpn.endpoint', 'localhost', '127.0.0.1', '::1', '2001:db8:0:1::ff']
const made = createSelfSignedCertificate({ names: NAMES, days: 365 })

describe('the certificate', () => {
  const certificate = new X509Certificate(made.certificate)

  it('the certificate of culvert try names what it was made for, belongs to its key and signs itself', () => {
    expect(certificate.subject).toBe('CN=vpn.endpoint')
    expect(certificate.subjectAltName).toBe(
      'DNS:vpn.endpoint, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, IP Address:2001:DB8:0:1:0:0:0:FF',
    )
    expect(certificate.checkPrivateKey(createPrivateKey(made.privateKey))).toBe(true)
    expect(certificate.verify(certificate.publicKey)).toBe(true)
    expect(certificate.checkIssued(certificate)).toBe(true)
    expect(certificate.ca).toBe(true)
    expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' })
  })

  it('the certificate of culvert try is valid from an hour ago, for the days asked', () => {
    const now = new Date('2049-06-01T12:00:00Z')
    const { validFromDate, validToDate } = new X509Certificate(
      createSelfSignedCertificate({ names: ['a'], days: 365, now }).certificate,
    )
    expect(validFromDate.toISOString()).toBe('2049-06-01T11:00:00.000Z')
    // The year has four digits from 2050 on.
    expect(validToDate.toISOString()).toBe('2050-06-01T12:00:00.000Z')
  })

  it('the certificate of culvert try stands up to openssl', () => {
    const directory = mkdtempSync(join(tmpdir(), 'culvert-cert-'))
    try {
      const file = join(directory, 'cert.pem')
      writeFileSync(file, made.certificate)
      const verify = (...more: string[]) =>
        spawnSync('openssl', [
          'verify',
          '-x509_strict',
          '-purpose',
          'sslserver',
          '-CAfile',
          file,
          ...more,
          file,
        ])
      for (const name of ['vpn.endpoint', 'localhost'])
        expect(verify('-verify_hostname', name).stdout.toString()).toContain('OK')
      for (const address of ['127.0.0.1', '2001:db8:0:1::ff'])
        expect(verify('-verify_ip', address).stdout.toString()).toContain('OK')
      expect(verify('-verify_hostname', 'other').status).not.toBe(0)
      const text = execFileSync('openssl', ['x509', '-in', file, '-noout', '-text']).toString()
      expect(text).toContain('Version: 3 (0x2)')
      expect(text).toMatch(/Key Usage: critical\s+Digital Signature, Certificate Sign/)
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  it('the certificate of culvert try carries a TLS handshake whose client verifies it', async () => {
    const server = createServer({ cert: made.certificate, key: made.privateKey }, (socket) =>
      socket.end('ok'),
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const socket = connect({ port, host: '127.0.0.1', servername: 'vpn.endpoint', ca: made.certificate })
    const [data] = (await once(socket, 'data')) as [Buffer]
    expect([data.toString(), socket.authorized]).toEqual(['ok', true])
    socket.destroy()
    server.close()
    await once(server, 'close')
  })

  it('the certificate of culvert try has a serial number that is positive and of 16 bytes, each time another', () => {
    const serials = Array.from(
      { length: 20 },
      () =>
        new X509Certificate(createSelfSignedCertificate({ names: ['a'], days: 1 }).certificate).serialNumber,
    )
    expect(new Set(serials).size).toBe(20)
    expect(serials.every((serial) => /^[4-7][0-9A-F]{31}$/.test(serial))).toBe(true)
  })
})

describe('DER', () => {
  it.each([
    [der.integer(Buffer.from('00', 'hex')), '020100'],
    [der.integer(Buffer.from('0000', 'hex')), '020100'],
    [der.integer(Buffer.from('7f', 'hex')), '02017f'],
    [der.integer(Buffer.from('80', 'hex')), '02020080'],
    [der.oid('1.2.840.10045.4.3.2'), '06082a8648ce3d040302'],
    [der.oid('2.5.29.17'), '0603551d11'],
    [der.boolean(true), '0101ff'],
    [der.bitString(Buffer.from('84', 'hex'), 2), '03020284'],
    [der.time(new Date('2049-12-31T23:59:59Z')), '170d3439313233313233353935395a'],
    [der.time(new Date('2050-01-01T00:00:00Z')), '180f32303530303130313030303030305a'],
  ])('DER is encoded as the vectors say (%#)', (bytes, hex) => {
    expect(bytes.toString('hex')).toBe(hex)
  })

  it('DER gives every length in its shortest form', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 70_000 }), (length) => {
        const bytes = der.octetString(Buffer.alloc(length))
        const header = length < 128 ? 2 : length < 256 ? 3 : length < 65_536 ? 4 : 5
        const declared = header === 2 ? bytes[1] : bytes.readUIntBE(2, header - 2)
        return bytes.length === header + length && declared === length
      }),
    )
  })
})
