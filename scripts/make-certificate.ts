/** Writes a self-signed certificate for the given names to certs/: `make-certificate.ts NAME...`. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { createSelfSignedCertificate } from '../src/cli/try/certificate.ts'

const DAYS = 365

const names = process.argv.slice(2)
if (names.length === 0) {
  console.error('usage: make-certificate.ts NAME...   host names and addresses, the main one first')
  process.exitCode = 2
} else {
  const directory = new URL('../certs/', import.meta.url)
  const { certificate, privateKey } = createSelfSignedCertificate({ names, days: DAYS })
  mkdirSync(directory, { recursive: true })
  writeFileSync(new URL('cert.pem', directory), certificate)
  writeFileSync(new URL('key.pem', directory), privateKey, { mode: 0o600 })
  console.log(`certs/cert.pem and certs/key.pem: ${names.join(', ')}, valid for ${DAYS} days`)
}
