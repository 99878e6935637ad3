/** Debian's chromium, headless and with an empty profile, driven by playwright-core. */
import { X509Certificate, createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import type { BrowserContext, Page } from 'playwright-core'
import { testCertificate } from './certificate.ts'

const BINARY = '/usr/bin/chromium'

export const hasChromium = existsSync(BINARY)

/**
 * These keep it from calling home and from using QUIC, and make it trust the tests' key and use proxies for loopback.
 */
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-extensions',
  '--proxy-bypass-list=<-loopback>',
]
const PATIENCE_MS = 20_000

export interface Chromium extends AsyncDisposable {
  readonly context: BrowserContext
  readonly page: Page
}

export interface ChromiumOptions {
  /** `https://host:port`; absent for a browser without a proxy. */
  readonly proxy?: string
  /** Entered when the proxy asks. */
  readonly credentials?: { readonly username: string; readonly password: string }
}

export async function openChromium(options: ChromiumOptions = {}): Promise<Chromium> {
  const { proxy, credentials } = options
  const profile = await mkdtemp(join(tmpdir(), 'culvert-chromium-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: BINARY,
    headless: true,
    timeout: PATIENCE_MS,
    args: [...ARGUMENTS, `--ignore-certificate-errors-spki-list=${fingerprint()}`],
    ...(proxy !== undefined && { proxy: { server: proxy, bypass: '<-loopback>', ...credentials } }),
  })
  context.setDefaultTimeout(PATIENCE_MS)
  return {
    context,
    page: context.pages()[0] ?? (await context.newPage()),
    [Symbol.asyncDispose]: async () => {
      await context.close()
      await rm(profile, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/** Hash of the public key, in the form of chromium's option. */
function fingerprint(): string {
  const { publicKey } = new X509Certificate(testCertificate().cert)
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64')
}
