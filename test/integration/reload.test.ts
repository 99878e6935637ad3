/** Certificates and users change without a restart; a wrong file changes nothing. */
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { describe, expect, it } from 'vitest'
import type { HostsSettings } from '../../src/config/settings.ts'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { createTestCertificate, testCertificate } from '../support/certificate.ts'
import type { TestCertificate } from '../support/certificate.ts'
import { USER, startEndpoint } from '../support/endpoint.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { H2Client } from '../support/h2-client.ts'
import { H3Client } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { missing, run } from '../support/outside-program.ts'
import { readAll } from '../support/reading.ts'
import { findClosedPort } from '../support/closed-port.ts'
import { openEcho } from '../support/targets.ts'

const absent = missing('openssl')
const SECOND_USER = '[[client]]\nusername = "second"\npassword = "old"\n'
const TWO_USERS = `[[client]]\nusername = "premium"\npassword = 'p:w"x'\n${SECOND_USER}`

/** How often the control thread looks for changed certificates. */
const LOOK_PERIOD_MS = 10_000
const HOST = `[[main_hosts]]
hostname = "vpn.endpoint"
cert_chain_path = "cert.pem"
private_key_path = "key.pem"
`
const TWO_HOSTS = HOST + HOST.replaceAll('= "', '= "second-')
const WEAK_CERTIFICATE = 'req -x509 -newkey rsa:1024 -nodes -days 2 -subj /CN=second-vpn.endpoint'.split(' ')

/** A certificate that is valid as a file, but TLS refuses a key this short. */
async function installWeakSecond(directory: string): Promise<TestCertificate> {
  const [keyPath, certPath] = [join(directory, 'second-key.pem'), join(directory, 'second-cert.pem')]
  await run('openssl', [...WEAK_CERTIFICATE, '-keyout', keyPath, '-out', certPath])
  return { cert: await readFile(certPath, 'utf8'), key: await readFile(keyPath, 'utf8') }
}

/** The same hosts with another certificate for the second main host, which no file check has seen. */
function withSecondPair(hosts: HostsSettings, { cert, key }: TestCertificate): HostsSettings {
  const main_hosts = hosts.main_hosts.map((host, index) =>
    index === 1 ? { ...host, cert_chain: cert, private_key: key } : host,
  )
  return { ...hosts, main_hosts }
}

async function shownSerial(port: number): Promise<string> {
  const socket = connect({ port, servername: 'vpn.endpoint', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const serial = socket.getPeerX509Certificate()?.serialNumber ?? ''
  socket.destroy()
  return serial
}

async function install(directory: string, { cert, key }: TestCertificate, prefix = ''): Promise<void> {
  await writeFile(join(directory, `${prefix}cert.pem`), cert)
  await writeFile(join(directory, `${prefix}key.pem`), key)
}

function serialOf({ cert }: TestCertificate): string {
  return new X509Certificate(cert).serialNumber
}

describe('reload', () => {
  it('reload shows a new certificate over TCP and QUIC, and open tunnels go on', async () => {
    await using endpoint = await startEndpoint({ protocols: ['http1', 'http2', 'quic'] })
    await using echo = await openEcho()
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    const { stream } = await client.connect(echo.authority)
    const fresh = createTestCertificate(['vpn.endpoint'])
    await install(endpoint.directory, fresh)
    await endpoint.supervisor.reload()
    expect(await shownSerial(endpoint.port)).toBe(serialOf(fresh))
    // The only way to see which certificate QUIC shows is to trust nothing but the new one.
    await using verified = await H3Client.open(endpoint.port, { ca: fresh.cert, rejectUnauthorized: true })
    const authorization = encodeBasicAuth(USER.username, USER.password)
    expect((await verified.tunnel('_check', { 'proxy-authorization': authorization })).status).toBe(200)
    stream.end('still here')
    expect((await readAll(stream)).toString()).toBe('still here')
  })

  it('reload keeps everything when a file is wrong, and says why', async () => {
    await using endpoint = await startEndpoint()
    const before = await shownSerial(endpoint.port)
    await writeFile(join(endpoint.directory, 'cert.pem'), createTestCertificate(['other.test']).cert)
    await writeFile(join(endpoint.directory, 'credentials.toml'), '')
    await expect(endpoint.supervisor.reload()).rejects.toThrow(/cert\.pem/)
    expect(await shownSerial(endpoint.port)).toBe(before)
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    expect((await client.connect('_check')).status).toBe(200)
  })

  it('reload puts users in force, and cuts off who is not among them any more', async () => {
    await using endpoint = await startEndpoint({ credentials: TWO_USERS })
    await using echo = await openEcho()
    await using removed = await H2Client.open({ port: endpoint.port, ...USER })
    await using kept = await H2Client.open({ port: endpoint.port, username: 'second', password: 'old' })
    await removed.connect(echo.authority)
    const { stream } = await kept.connect(echo.authority)
    const cutOff = new Promise((resolve) => removed.session.once('close', resolve))
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

describe('a reload that takes away what makes the endpoint safe', () => {
  /**
   * Without users everybody is let in, and that is allowed on loopback. But the address takes a restart: a file that was
   * fine by itself opened the endpoint to the world.
   */
  it('a reload to loopback without users is refused while the endpoint listens on a public address', async () => {
    await using endpoint = await startEndpoint({ listen: `0.0.0.0:${await findClosedPort()}` })
    await writeFile(endpoint.files.vpn, 'listen_address = "127.0.0.1:0"\n[listen_protocols.http2]\n')
    await expect(endpoint.supervisor.reload()).rejects.toThrow(/No credentials configured/)
    await using stranger = await H2Client.open({ port: endpoint.port, username: 'any', password: 'body' })
    expect((await stranger.connect('_check')).status).toBe(407)
    await using client = await H2Client.open({ port: endpoint.port, ...USER })
    expect((await client.connect('_check')).status).toBe(200)
  })

  it('a reload checks the hosts against the protocols that run, not against those in the file', async () => {
    await using endpoint = await startEndpoint({ protocols: ['http2', 'quic'] })
    await writeFile(endpoint.files.hosts, TWO_HOSTS)
    await install(endpoint.directory, createTestCertificate(['vpn.endpoint']))
    const { cert, key } = createTestCertificate(['second-vpn.endpoint'])
    await writeFile(join(endpoint.directory, 'second-cert.pem'), cert)
    await writeFile(join(endpoint.directory, 'second-key.pem'), key)
    const text = await readFile(endpoint.files.vpn, 'utf8')
    await writeFile(endpoint.files.vpn, text.replace('[listen_protocols.quic]', ''))
    await endpoint.supervisor.reload()
    await endpoint.waitForLog(({ msg }) => String(msg).includes('HTTP/3 shows'))
    const { keys } = await endpoint.waitForLog(({ msg }) => String(msg).includes('take a restart'))
    expect(keys).toEqual(['listen_protocols.quic'])
  })
})

describe('a reload asked for while another is under way', () => {
  it('a reload asked for while another is under way is carried out after it, with what the files hold then', async () => {
    const held = Promise.withResolvers<void>()
    let loads = 0
    await using endpoint = await startEndpoint({
      credentials: TWO_USERS,
      // The start reads the files first; the first reload has read them and is held up.
      afterLoad: async () => (++loads === 2 ? held.promise : undefined),
    })
    const first = endpoint.supervisor.reload()
    await expect.poll(() => loads).toBe(2)
    await writeFile(join(endpoint.directory, 'credentials.toml'), SECOND_USER)
    const second = endpoint.supervisor.reload()
    held.resolve()
    await Promise.all([first, second])
    await using removed = await H2Client.open({ port: endpoint.port, ...USER })
    expect((await removed.connect('_check')).status).toBe(407)
  })
})

describe('a certificate that is replaced', () => {
  it.each([
    ['starts', 1],
    ['reloads', 2],
  ])(
    'a certificate that is replaced just after it was read, while the endpoint %s, is shown all the same',
    async (_what, load) => {
      const clock = new FakeClock()
      const fresh = createTestCertificate(['vpn.endpoint'])
      let loads = 0
      await using endpoint = await startEndpoint({
        clock,
        afterLoad: async (directory) => {
          if (++loads === load) await install(directory, fresh)
        },
      })
      if (load === 2) await endpoint.supervisor.reload()
      expect(await shownSerial(endpoint.port)).not.toBe(serialOf(fresh))
      clock.advance(LOOK_PERIOD_MS)
      await endpoint.waitForLog(({ msg }) => msg === 'certificates renewed')
      expect(await shownSerial(endpoint.port)).toBe(serialOf(fresh))
    },
  )

  it('a certificate that is replaced is shown while the other files are being edited, and nothing of them is put in force', async () => {
    const clock = new FakeClock()
    await using endpoint = await startEndpoint({ clock, credentials: TWO_USERS })
    await writeFile(join(endpoint.directory, 'credentials.toml'), SECOND_USER)
    await writeFile(endpoint.files.vpn, 'half an edi')
    const fresh = createTestCertificate(['vpn.endpoint'])
    await install(endpoint.directory, fresh)
    clock.advance(LOOK_PERIOD_MS)
    await endpoint.waitForLog(({ msg }) => msg === 'certificates renewed')
    expect(await shownSerial(endpoint.port)).toBe(serialOf(fresh))
    await using still = await H2Client.open({ port: endpoint.port, ...USER })
    expect((await still.connect('_check')).status).toBe(200)
  })

  it.skipIf(absent.any)(
    `a certificate that is replaced together with one that cannot be used is shown nowhere, neither over TCP nor over QUIC${absent.note}`,
    async () => {
      let weak: TestCertificate | undefined
      await using endpoint = await startEndpoint({
        protocols: ['http1', 'http2', 'quic'],
        // The check of the files would stop it earlier; the data plane must not depend on that.
        alterHosts: (hosts) => (weak === undefined ? hosts : withSecondPair(hosts, weak)),
      })
      const before = testCertificate()
      weak = await installWeakSecond(endpoint.directory)
      const fresh = createTestCertificate(['vpn.endpoint'])
      await install(endpoint.directory, fresh)
      await install(endpoint.directory, fresh, 'second-')
      await writeFile(endpoint.files.hosts, TWO_HOSTS)
      await expect(endpoint.supervisor.reload()).rejects.toThrow(/ee key too small/)
      expect(await shownSerial(endpoint.port)).toBe(serialOf(before))
      await using verified = await H3Client.open(endpoint.port, { ca: before.cert, rejectUnauthorized: true })
      const authorization = encodeBasicAuth(USER.username, USER.password)
      expect((await verified.tunnel('_check', { 'proxy-authorization': authorization })).status).toBe(200)
    },
  )

  it.skipIf(absent.any)(
    `a certificate that is replaced by one that TLS refuses is named with its host, on a reload and by itself${absent.note}`,
    async () => {
      const clock = new FakeClock()
      await using endpoint = await startEndpoint({ clock })
      await install(endpoint.directory, testCertificate(), 'second-')
      await writeFile(endpoint.files.hosts, TWO_HOSTS)
      await endpoint.supervisor.reload()
      const before = await shownSerial(endpoint.port)
      await install(endpoint.directory, createTestCertificate(['vpn.endpoint']))
      await installWeakSecond(endpoint.directory)
      const reason = /main_hosts\[1\]: .*second-cert\.pem', error='TLS refuses it: its key is too short/
      await expect(endpoint.supervisor.reload()).rejects.toThrow(reason)
      clock.advance(LOOK_PERIOD_MS)
      const refused = 'certificate files have changed but cannot be used; the old ones stay'
      const { problems } = await endpoint.waitForLog(({ msg }) => msg === refused)
      expect(problems).toEqual([expect.stringMatching(reason)])
      expect(problems).toEqual([expect.stringContaining(endpoint.files.hosts)])
      expect(await shownSerial(endpoint.port)).toBe(before)
    },
  )
})

expectNothingLeftOpen()
