/** One self-signed certificate for all tests of a process. */
import { createSelfSignedCertificate } from '../../src/cli/try/certificate.ts'

export interface TestCertificate {
  /** PEM. */
  readonly cert: string
  readonly key: string
}

const NAMES = ['vpn.endpoint', '*.vpn.endpoint', 'localhost', '127.0.0.1', '::1']
let made: TestCertificate | undefined

/** The names are vpn.endpoint, one level below it, and loopback. */
export function testCertificate(): TestCertificate {
  made ??= createTestCertificate(NAMES)
  return made
}

export function createTestCertificate(names: readonly string[]): TestCertificate {
  const { certificate, privateKey } = createSelfSignedCertificate({ names, days: 2 })
  return { cert: certificate, key: privateKey }
}
