/**
 * A failure tells a stranger nothing: the bytes are the same whatever is wrong with the credentials, the time is the
 * same for an unknown user and for a wrong password, and the session stays open (specification 9).
 */
import { randomBytes } from 'node:crypto'
import { connect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { readAll } from '../support/reading.ts'
import { areaUnderCurve, inRandomOrder } from '../support/timing.ts'

const FAILURES: Record<string, string | undefined> = {
  missing: undefined,
  malformed: 'Basic %%%',
  'other scheme': 'Bearer cHJlbWl1bTpw',
  'unknown user': encodeBasicAuth('mallory', USER.password),
  'wrong password': encodeBasicAuth(USER.username, 'wrong'),
}

const authorization = (value: string | undefined): Record<string, string> =>
  value === undefined ? {} : { 'proxy-authorization': value }

let endpoint: TestEndpoint
beforeAll(async () => {
  endpoint = await startEndpoint()
})
afterAll(() => endpoint[Symbol.asyncDispose]())

describe('authentication', () => {
  it('authentication answers every failure with the same fields over HTTP/2, and the session goes on', async () => {
    await using client = await H2Client.open({ port: endpoint.port })
    for (const value of Object.values(FAILURES)) {
      const { status, headers, stream } = await client.connect('_check', authorization(value))
      expect(status).toBe(407)
      expect(Object.fromEntries(Object.entries(headers))).toEqual({
        ':status': 407,
        'proxy-authenticate': 'Basic realm="Authorization Required"',
      })
      expect((await readAll(stream)).length).toBe(0)
    }
    const { status } = await client.connect(
      '_check',
      authorization(encodeBasicAuth(USER.username, USER.password)),
    )
    expect(status).toBe(200)
  })

  it('authentication answers every failure with the same bytes over HTTP/1.1', async () => {
    const answers = new Set<string>()
    for (const value of Object.values(FAILURES)) {
      const field = value === undefined ? '' : `Proxy-Authorization: ${value}\r\n`
      const socket = connect({ port: endpoint.port, servername: 'vpn.endpoint', rejectUnauthorized: false })
      socket.write(`CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n${field}\r\n`)
      answers.add((await readAll(socket)).toString('latin1'))
    }
    expect([...answers]).toEqual([
      'HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n' +
        'Proxy-Authenticate: Basic realm="Authorization Required"\r\n\r\n',
    ])
  })

  it('authentication accepts the scheme in any case', async () => {
    await using client = await H2Client.open({ port: endpoint.port })
    const token = encodeBasicAuth(USER.username, USER.password).slice('Basic '.length)
    for (const scheme of ['basic', 'BASIC', 'bAsIc']) {
      expect((await client.connect('_check', authorization(`${scheme} ${token}`))).status).toBe(200)
    }
  })

  it('authentication checks credentials before it looks at the authority', async () => {
    await using client = await H2Client.open({ port: endpoint.port })
    for (const authority of ['_udp2', '_icmp', '_check:443', 'nonsense', '127.0.0.1:1']) {
      expect((await client.connect(authority)).status).toBe(407)
    }
  })

  /**
   * An unknown user and a wrong password take the same time: guessing by its time which of the two an answer was is no
   * better than tossing a coin. The area under the ROC curve expresses that in one number, which load does not change
   * because the tries come in random order; 0.5 is the coin. Chance alone has a standard deviation of 0.024.
   */
  it(
    'authentication takes the same time for an unknown user and a wrong password',
    { timeout: 60_000 },
    async () => {
      await using client = await H2Client.open({ port: endpoint.port })
      const times = { 'unknown user': [] as number[], 'wrong password': [] as number[] }
      for (const name of inRandomOrder(['unknown user', 'wrong password'] as const, 300)) {
        const password = randomBytes(8).toString('hex')
        const username = name === 'wrong password' ? USER.username : randomBytes(4).toString('hex').slice(1)
        const headers = authorization(encodeBasicAuth(username, password))
        const startedAt = performance.now()
        await client.connect('_check', headers)
        times[name].push(performance.now() - startedAt)
      }
      const area = areaUnderCurve(times['unknown user'], times['wrong password'])
      expect(area).toBeGreaterThan(0.42)
      expect(area).toBeLessThan(0.58)
    },
  )

  it.each([405, 404, 403])('authentication hides behind %d when the file says so', async (status) => {
    await using hidden = await startEndpoint({ keys: `auth_failure_status_code = ${status}` })
    await using client = await H2Client.open({ port: hidden.port })
    const { status: answered, headers } = await client.connect('_check')
    expect(answered).toBe(status)
    expect(headers['proxy-authenticate']).toBeUndefined()
  })
})

expectNothingLeftOpen()
