/** Certificates and users change without a restart; what is wrong changes nothing. */
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { createTestCertificate } from '../support/certificate.ts'
import type { TestCertificate } from '../support/certificate.ts'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { H3Client } from '../support/h3-client.ts'
import { readAll } from '../support/reading.ts'
import { openEcho } from '../support/targets.ts'

const SECOND_USER = '[[client]]\nusername = "second"\npassword = "old"\n'
const TWO_USERS = `[[client]]\nusername = "premium"\npassword = 'p:w"x'\n${SECOND_USER}`

async function shownSerial(port: number): Promise<string> {
  const socket = connect({ port, servername: 'vpn.endpoint', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const serial = socket.getPeerX509Certificate()?.serialNumber ?? ''
  socket.destroy()
  return serial
}

async function install(endpoint: TestEndpoint, { cert, key }: TestCertificate): Promise<string> {
  await writeFile(join(endpoint.directory, 'cert.pem'), cert)
  await writeFile(join(endpoint.directory, 'key.pem'), key)
  return new X509Certificate(cert).serialNumber
}

describe('reload', () => {
  it('shows a new certificate over TCP and QUIC, and open tunnels go on', async () => {
    await using endpoint = await startEndpoint({ protocols: ['http1', 'http2', 'quic'] })
    await using echo = await openEcho()
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    const { stream } = await client.connect(echo.authority)
    const fresh = createTestCertificate(['vpn.endpoint'])
    const serial = await install(endpoint, fresh)
    await endpoint.supervisor.reload()
    expect(await shownSerial(endpoint.port)).toBe(serial)
    // Trusting nothing but the new one is the only way to see which certificate QUIC shows.
    await using verified = await H3Client.open(endpoint.port, { ca: fresh.cert, rejectUnauthorized: true })
    const authorization = encodeBasicAuth(USER.username, USER.password)
    expect((await verified.tunnel('_check', { 'proxy-authorization': authorization })).status).toBe(200)
    stream.end('still here')
    expect((await readAll(stream)).toString()).toBe('still here')
  })

  it('keeps everything when a file is wrong, and says why', async () => {
    await using endpoint = await startEndpoint()
    const before = await shownSerial(endpoint.port)
    await writeFile(join(endpoint.directory, 'cert.pem'), createTestCertificate(['other.test']).cert)
    await writeFile(join(endpoint.directory, 'credentials.toml'), '')
    await expect(endpoint.supervisor.reload()).rejects.toThrow(/cert\.pem/)
    expect(await shownSerial(endpoint.port)).toBe(before)
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    expect((await client.connect('_check')).status).toBe(200)
  })

  it('puts users in force, and cuts off who is not among them any more', async () => {
    await using endpoint = await startEndpoint({ credentials: TWO_USERS })
    await using echo = await openEcho()
    await using removed = await H2Client.open({ port: endpoint.port, ...USER })
    await using kept = await H2Client.open({ port: endpoint.port, username: 'second', password: 'old' })
    await removed.connect(echo.authority)
    const { stream } = await kept.connect(echo.authority)
    const cutOff = once(removed.session, 'close')
    await writeFile(join(endpoint.directory, 'credentials.toml'), SECOND_USER)
    await endpoint.supervisor.reload()
    await cutOff
    stream.end('still here')
    expect((await readAll(stream)).toString()).toBe('still here')
    await using again = await H2Client.open({ port: endpoint.port, ...USER })
    expect((await again.connect('_check')).status).toBe(407)
    expect((await endpoint.supervisor.stats())['sessions_revoked']).toBe(1)
  })
})
