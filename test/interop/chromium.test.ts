/**
 * Chromium with the endpoint as its HTTPS proxy, over HTTP/2 and with credentials, and as a visitor of the decoy site.
 * https:, wss: and ws: travel in CONNECT tunnels.
 */
import { createReadStream } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Page } from 'playwright-core'
import { startBrowsableEndpoint } from '../support/browsable-endpoint.ts'
import { hasChromium, openChromium } from '../support/chromium.ts'
import type { Chromium } from '../support/chromium.ts'
import { USER } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { hashOf, hashOfPattern } from '../support/patterned-bytes.ts'
import { openWebTarget, RESOURCES, TITLE } from '../support/web-target.ts'

const DOWNLOAD_BYTES = 100_000_000
const WRONG = { username: USER.username, password: 'wrong' }
const CHALLENGE = { source: 'Proxy', scheme: 'basic', realm: expect.any(String) as string }
const PATIENCE = { timeout: 90_000 }

function openBehind(endpoint: TestEndpoint, credentials = USER): Promise<Chromium> {
  return openChromium({ proxy: `https://localhost:${endpoint.port}`, credentials })
}

/** Checks that a browser has left nothing behind, and spoke only HTTP/2. */
async function expectOnlyHttp2(endpoint: TestEndpoint): Promise<void> {
  const stats = await endpoint.waitForStats(
    (now) => now['client_sessions{HTTP2}'] === 0 && now.open_streams === 0,
  )
  expect(stats['sessions_total{HTTP2}']).toBeGreaterThan(0)
  expect(stats['sessions_total{HTTP1}']).toBeUndefined()
}

/** A new tab may still be on its way to an error page of its own, which then interrupts the first navigation. */
async function gotoAgain(tab: Page, url: string): Promise<void> {
  await tab.goto(url).catch(async (error: Error) => {
    if (!error.message.includes('interrupted by another navigation')) throw error
    await tab.goto(url)
  })
}

describe.skipIf(!hasChromium)(
  `chromium through the endpoint${hasChromium ? '' : ' (skipped: no chromium here)'}`,
  () => {
    it('chromium loads a page over HTTPS and one with 50 resources', PATIENCE, async () => {
      await using endpoint = await startBrowsableEndpoint()
      await using target = await openWebTarget()
      {
        await using browser = await openBehind(endpoint)
        const response = await browser.page.goto(`https://127.0.0.1:${target.httpsPort}/`)
        expect(response?.status()).toBe(200)
        expect(await browser.page.textContent('#text')).toBe('It works.')
        const failed: string[] = []
        browser.page.on('requestfailed', (request) => failed.push(request.url()))
        await browser.page.goto(`https://127.0.0.1:${target.httpsPort}/many`, { waitUntil: 'load' })
        expect(await browser.page.title()).toBe(TITLE)
        expect(await loaded(browser.page)).toBe(RESOURCES)
        expect(failed).toEqual([])
      }
      expect(new Set(target.requested).size).toBe(RESOURCES + 2)
      await expectOnlyHttp2(endpoint)
      const ended = await endpoint.waitForLog(
        (line) => line.msg === 'session ended' && line.user === USER.username,
      )
      expect(ended).toMatchObject({ protocol: 'HTTP2', downlinkBytes: expect.any(Number) as number })
    })

    it('chromium downloads 100 MB', PATIENCE, async () => {
      await using endpoint = await startBrowsableEndpoint()
      await using target = await openWebTarget()
      {
        await using browser = await openBehind(endpoint)
        await browser.page.goto(`https://127.0.0.1:${target.httpsPort}/`)
        const started = browser.page.waitForEvent('download')
        await browser.page.evaluate(`location.href = '/download?bytes=${DOWNLOAD_BYTES}'`)
        const file = await (await started).path()
        const received = await hashOf(createReadStream(file))
        expect(received).toEqual({ bytes: DOWNLOAD_BYTES, hash: hashOfPattern(DOWNLOAD_BYTES) })
      }
      await expectOnlyHttp2(endpoint)
    })

    it('chromium talks to WebSockets, with and without TLS', PATIENCE, async () => {
      await using endpoint = await startBrowsableEndpoint()
      await using target = await openWebTarget()
      {
        await using browser = await openBehind(endpoint)
        await browser.page.goto(`https://127.0.0.1:${target.httpsPort}/`)
        for (const url of [
          `wss://127.0.0.1:${target.httpsPort}/ws`,
          `ws://127.0.0.1:${target.httpPort}/ws`,
        ]) {
          expect(await echoed(browser.page, url)).toEqual([
            'hello',
            'ä'.repeat(40_000),
            300_000,
            'closed 1000',
          ])
        }
      }
      await expectOnlyHttp2(endpoint)
    })

    it('chromium asks again when the password is wrong, and loads nothing', PATIENCE, async () => {
      await using endpoint = await startBrowsableEndpoint()
      await using target = await openWebTarget()
      {
        await using browser = await openChromium({ proxy: `https://localhost:${endpoint.port}` })
        const asked = await answerChallenges(browser.page, [WRONG, WRONG, 'cancel'])
        const url = `https://127.0.0.1:${target.httpsPort}/`
        const outcome = await browser.page.goto(url).then(
          (response) => `answered ${response?.status()}`,
          (error: Error) => /net::\w+/.exec(error.message)?.[0],
        )
        expect(asked()).toEqual([CHALLENGE, CHALLENGE, CHALLENGE])
        expect(outcome).not.toMatch(/^answered 200/)
        expect(target.requested).toEqual([])
        // Asked once more in another tab, and given the right one, it goes on.
        const tab = await browser.context.newPage()
        await answerChallenges(tab, [USER])
        await gotoAgain(tab, url)
        expect(await tab.title()).toBe(TITLE)
      }
      await expectOnlyHttp2(endpoint)
    })

    // Through a proxy it tunnels https:, wss: and ws: only. For http: it sends the request with :scheme http, and
    // credentials as soon as it has been asked for them, which happens with the first CONNECT.
    it('chromium loads pages over HTTP once it has loaded one over HTTPS', PATIENCE, async () => {
      await using endpoint = await startBrowsableEndpoint()
      await using target = await openWebTarget()
      {
        await using browser = await openBehind(endpoint)
        const { page } = browser
        await page.goto(`https://127.0.0.1:${target.httpsPort}/`)
        const response = await page.goto(`http://127.0.0.1:${target.httpPort}/`)
        expect(response?.status()).toBe(200)
        expect(response?.headers().server).toBeUndefined()
        expect(await page.textContent('#text')).toBe('It works.')
        await page.goto(`http://127.0.0.1:${target.httpPort}/many`, { waitUntil: 'load' })
        expect(await page.title()).toBe(TITLE)
        expect(await loaded(page)).toBe(RESOURCES)
      }
      await expectOnlyHttp2(endpoint)
      const stats = await endpoint.waitUntilFree()
      expect(stats['requests{forward}']).toBeGreaterThanOrEqual(RESOURCES + 2)
    })

    it(
      'chromium gets a page of the web site for an http: address before any over HTTPS, and the target hears nothing',
      PATIENCE,
      async () => {
        await using endpoint = await startBrowsableEndpoint()
        await using target = await openWebTarget()
        {
          await using browser = await openBehind(endpoint)
          const response = await browser.page.goto(`http://127.0.0.1:${target.httpPort}/`)
          expect(response?.headers().server).toBe('nginx')
          expect(await browser.page.title()).not.toBe(TITLE)
          expect(target.requested).toEqual([])
        }
        await expectOnlyHttp2(endpoint)
      },
    )

    it('chromium sees a web site when it comes as a visitor', PATIENCE, async () => {
      await using endpoint = await startBrowsableEndpoint()
      {
        await using browser = await openChromium()
        const response = await browser.page.goto(`https://localhost:${endpoint.port}/`)
        expect(response?.status()).toBe(200)
        expect((await browser.page.title()).length).toBeGreaterThan(0)
        expect(await browser.page.evaluate('document.body.innerText.length')).toBeGreaterThan(0)
        const missing = await browser.page.goto(`https://localhost:${endpoint.port}/missing`)
        expect(missing?.status()).toBe(404)
      }
      await expectOnlyHttp2(endpoint)
    })
  },
)

/** Resources that arrived and could be used. */
function loaded(page: Page): Promise<unknown> {
  return page.evaluate(`(async () => {
    const images = [...document.images].filter((image) => image.naturalWidth > 0)
    return images.length + window.scripts + document.styleSheets.length
  })()`)
}

/** Sends a short text, a long one and bytes; the answers (for bytes their number, if unchanged) and the close code. */
function echoed(page: Page, url: string): Promise<unknown> {
  return page.evaluate(`new Promise((resolve) => {
    const socket = new WebSocket(${JSON.stringify(url)})
    socket.binaryType = 'arraybuffer'
    const bytes = new Uint8Array(300_000).map((_, index) => index * 7)
    const answers = []
    socket.onopen = () => [ 'hello', 'ä'.repeat(40_000), bytes ].forEach((message) => socket.send(message))
    socket.onmessage = ({ data }) => {
      const unchanged = typeof data !== 'string' && new Uint8Array(data).every((byte, index) => byte === bytes[index])
      answers.push(unchanged ? data.byteLength : data)
      if (answers.length === 3) socket.close(1000)
    }
    socket.onclose = ({ code }) => resolve([...answers, 'closed ' + code])
  })`)
}

type Answer = { readonly username: string; readonly password: string } | 'cancel'

/** Answers the questions for credentials in turn; gives what was asked so far. */
async function answerChallenges(page: Page, answers: readonly Answer[]): Promise<() => unknown[]> {
  const asked: unknown[] = []
  const cdp = await page.context().newCDPSession(page)
  cdp.on(
    'Fetch.requestPaused',
    ({ requestId }) => void cdp.send('Fetch.continueRequest', { requestId }).catch(() => {}),
  )
  cdp.on('Fetch.authRequired', ({ requestId, authChallenge: { source, scheme, realm } }) => {
    const answer = answers[asked.length] ?? 'cancel'
    asked.push({ source, scheme, realm })
    const authChallengeResponse =
      answer === 'cancel'
        ? ({ response: 'CancelAuth' } as const)
        : ({ response: 'ProvideCredentials', ...answer } as const)
    cdp.send('Fetch.continueWithAuth', { requestId, authChallengeResponse }).catch(() => {})
  })
  await cdp.send('Fetch.enable', { handleAuthRequests: true })
  return () => asked
}

expectNothingLeftOpen()
