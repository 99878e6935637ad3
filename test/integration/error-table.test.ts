/** Every row of the error table, as a client sees it: status, exact headers, empty body, END_STREAM. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { EndpointOptions, TestEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readAll } from '../support/reading.ts'
import { findClosedPort } from '../support/closed-port.ts'
import { openEcho } from '../support/targets.ts'

async function refusal(endpoint: TestEndpoint, authority: string, credentials: Partial<typeof USER> = USER) {
  await using client = await H2Client.open({ port: endpoint.port, ...credentials })
  const { status, headers, stream } = await client.connect(authority)
  const body = await readAll(stream)
  expect(body.length).toBe(0)
  const fields = Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':')))
  return { status, headers: fields }
}

const REFUSED = { 'x-warning': '300 - Connection failed for some reason' }

describe('error table, targets open', () => {
  let endpoint: TestEndpoint
  beforeAll(async () => {
    endpoint = await startEndpoint({
      keys: 'connection_establishment_timeout_secs = 1',
      rules: '[outbound]\n[[outbound.rule]]\ndestination_port = "25"\naction = "deny"\n',
    })
  })
  afterAll(() => endpoint[Symbol.asyncDispose]())

  it('auth_required is 407 with a challenge', async () => {
    expect(await refusal(endpoint, '_check', {})).toEqual({
      status: 407,
      headers: { 'proxy-authenticate': 'Basic realm="Authorization Required"' },
    })
    const line = await endpoint.waitForLog(({ code }) => code === 'auth_required')
    expect(line['reason']).toBe('missing')
  })

  it('target_refused is answered when nothing listens', async () => {
    const port = await findClosedPort()
    expect(await refusal(endpoint, `127.0.0.1:${port}`)).toEqual({ status: 502, headers: REFUSED })
  })

  it.each([
    'no-such-name.invalid:80',
    'localhost',
    'localhost:0',
    'localhost:65536',
    '127.1:80',
    '[::1',
    ':80',
  ])('target_refused is answered to %s', async (authority) => {
    expect(await refusal(endpoint, authority)).toEqual({ status: 502, headers: REFUSED })
  })

  it('target_denied is answered when an outbound rule says so', async () => {
    expect(await refusal(endpoint, '127.0.0.1:25')).toEqual({
      status: 502,
      headers: { 'x-warning': '320 - Destination denied by filtering rules' },
    })
  })

  it('not_available is answered when ICMP is not enabled', async () => {
    expect(await refusal(endpoint, '_icmp')).toEqual({ status: 501, headers: {} })
  })

  it('a refusal has in the log what the system said', async () => {
    await refusal(endpoint, `127.0.0.1:${await findClosedPort()}`)
    const line = await endpoint.waitForLog((entry) => 'cause' in entry)
    expect(line).toMatchObject({ code: 'target_refused', cause: 'ECONNREFUSED' })
    expect(line).not.toHaveProperty('target')
  })

  it('a refusal is named in the log by its code and never tells the password', async () => {
    await refusal(endpoint, '_icmp')
    const line = await endpoint.waitForLog((entry) => entry['code'] === 'not_available')
    expect(line).toMatchObject({ msg: 'request refused', user: USER.username, status: 501 })
    expect(JSON.stringify(endpoint.logs)).not.toContain(USER.password)
  })
})

describe('error table, private targets closed', () => {
  let endpoint: TestEndpoint
  beforeAll(async () => {
    endpoint = await startEndpoint({ allowPrivate: false })
  })
  afterAll(() => endpoint[Symbol.asyncDispose]())

  it.each(['10.0.0.1:80', '[fd00::1]:80', '[::ffff:192.168.1.1]:80', '[64:ff9b::a00:1]:80', '224.0.0.1:80'])(
    'target_private is answered to %s',
    async (authority) => {
      expect(await refusal(endpoint, authority)).toEqual({
        status: 502,
        headers: {
          'x-adguard-vpn-error': authority,
          'x-warning': '310 - DNS: resolved address in non-routable network',
        },
      })
    },
  )

  it.each(['127.0.0.1:80', 'localhost:80', '[::1]:80'])(
    'target_loopback is answered to %s',
    async (authority) => {
      expect(await refusal(endpoint, authority)).toEqual({
        status: 502,
        headers: { 'x-adguard-vpn-error': authority, 'x-warning': '311 - DNS: resolved address in loopback' },
      })
    },
  )
})

describe('limit_exceeded', () => {
  const options: EndpointOptions = {
    credentials: `[[client]]\nusername = "premium"\npassword = 'p:w"x'\nmax_http2_conns = 1\n`,
  }

  it('limit_exceeded refuses a session beyond the limit of its user and lets it in when a place is free', async () => {
    await using endpoint = await startEndpoint(options)
    await using echo = await openEcho()
    const first = await H2Client.open({ port: endpoint.port, ...USER })
    expect((await first.connect(echo.authority)).status).toBe(200)
    expect(await refusal(endpoint, '_check')).toEqual({ status: 429, headers: { 'retry-after': '30' } })
    await first[Symbol.asyncDispose]()
    await endpoint.waitForStats((stats) => stats['client_sessions{HTTP2}'] === 0)
    expect((await refusal(endpoint, '_check')).status).toBe(200)
  })
})

expectNothingLeftOpen()
