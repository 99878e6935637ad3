/**
 * All rows of the address table over TCP, UDP and ICMP. An outbound rule forbids everything, so that nothing leaves the
 * machine: what the address policy lets through is refused by the rule, which has an answer and a counter of its own.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeIcmpRequest } from '../../src/wire/icmp-frame.ts'
import { ipBytes } from '../../src/wire/ip-address.ts'
import { DnsServer } from '../support/dns-server.ts'
import { USER, startEndpoint } from '../support/endpoint.ts'
import type { TestEndpoint } from '../support/endpoint.ts'
import { H2Client } from '../support/h2-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { UdpClient } from '../support/udp-client.ts'

const isRoot = process.getuid?.() === 0
const words = (text: string): string[] => text.trim().split(/\s+/)

/** First and last of each range, and forms of IPv6 that carry such an address. */
const PRIVATE = words(`
  0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 169.254.0.0 169.254.169.254
  169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.8 192.0.0.11 192.0.0.255 192.0.2.0 192.0.2.255
  192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255
  240.0.0.0 255.255.255.254
  :: fe80::1 febf::1 fc00::1 fdff::1 2001:db8::1 2001:db8:ffff::1 fec0::1 100::1 64:ff9b:1::1
  ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::10.0.0.1 64:ff9b::10.0.0.1 64:ff9b::192.168.1.1 2002:a00:1::1
  2002:c0a8:101::1
`)
const LOOPBACK = words(`
  127.0.0.0 127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1 64:ff9b::127.0.0.1 2002:7f00:1::1
`)
/** Closed whatever the file says. */
const MULTICAST = words(
  '224.0.0.0 224.0.0.1 239.255.255.255 255.255.255.255 ff02::1 ff0e::1 ::ffff:224.0.0.1',
)
/** The neighbours of the ranges, and what was taken for private before 1.1.0. */
const GLOBAL = words(`
  1.0.0.0 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255
  169.255.0.0 172.15.255.255 172.32.0.0 192.0.0.9 192.0.0.10 192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0
  198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255
  2001:4860:4860::8888 2606:4700:4700::1111 2a00:1450:4001::1 2003::1 2400::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8
  2002:808:808::1
`)

type Code = 'target_private' | 'target_loopback' | 'target_denied' | 'target_unreachable'
const WARNINGS: Record<Code, string> = {
  target_private: '310 - DNS: resolved address in non-routable network',
  target_loopback: '311 - DNS: resolved address in loopback',
  target_denied: '320 - Destination denied by filtering rules',
  target_unreachable: '301 - Remote host is unreachable',
}

const table = (...parts: [readonly string[], Code][]): (readonly [address: string, code: Code])[] =>
  parts.flatMap(([addresses, code]) => addresses.map((address) => [address, code] as const))
const GUARDED = table(
  [PRIVATE, 'target_private'],
  [LOOPBACK, 'target_loopback'],
  [MULTICAST, 'target_private'],
  [GLOBAL, 'target_denied'],
)
const OPENED = table(
  [PRIVATE, 'target_denied'],
  [LOOPBACK, 'target_denied'],
  [MULTICAST, 'target_private'],
  [GLOBAL, 'target_denied'],
)

const DENY_ALL = ['0.0.0.0/0', '::/0']
  .map((range) => `[[outbound.rule]]\ndestination_cidr = "${range}"\naction = "deny"\n`)
  .join('')
const PORT = 9

/** `NAME.test` is what `-` and `_` make of an address: 10-0-0-1 or 2001_db8__1; several are joined by `.and.`. */
const nameOf = (...addresses: string[]): string =>
  `${addresses.map((address) => `a${address.replaceAll('.', '-').replaceAll(':', '_')}a`).join('.and.')}.test`

function addressesOf(name: string): string[] {
  const labels = name.replace(/\.test$/, '').split('.and.')
  return labels.map((label) => label.slice(1, -1).replaceAll('-', '.').replaceAll('_', ':'))
}

interface Guarded {
  readonly endpoint: TestEndpoint
  readonly client: H2Client
  readonly dns: DnsServer
}

async function start(options: { allowPrivate: boolean; keys?: string }): Promise<Guarded> {
  const dns = await DnsServer.open((name, family) => {
    const all = addressesOf(name).map((address) => ipBytes(address) ?? new Uint8Array())
    const addresses = all.filter(({ length }) => length === (family === 4 ? 4 : 16))
    return all.some(({ length }) => length === 0) ? { rcode: 3 } : { addresses }
  })
  const endpoint = await startEndpoint({
    ...options,
    rules: `[outbound]\n${DENY_ALL}`,
    tables: `${isRoot ? '[icmp]\n' : ''}[culvert.dns]\nservers = ["${dns.server}"]\n`,
  })
  const client = await H2Client.open({ port: endpoint.port, ...USER })
  return { endpoint, client, dns }
}

async function stop({ endpoint, client, dns }: Guarded): Promise<void> {
  await client[Symbol.asyncDispose]()
  await endpoint.waitUntilFree()
  await endpoint[Symbol.asyncDispose]()
  await dns[Symbol.asyncDispose]()
}

async function expectRefusal({ client }: Guarded, authority: string, code: Code): Promise<void> {
  const { status, headers, stream } = await client.connect(authority)
  stream.close()
  expect([status, headers['x-warning']]).toEqual([502, WARNINGS[code]])
  const names = code === 'target_private' || code === 'target_loopback'
  expect(headers['x-adguard-vpn-error']).toBe(names ? authority : undefined)
}

/** Waits for the next drop of any kind and says which it was. */
async function nextDrop({ endpoint }: Guarded, counter: string, send: () => void): Promise<string[]> {
  const drops = (stats: Record<string, number>) =>
    Object.entries(stats).filter(([name]) => name.startsWith(`${counter}{`))
  const sum = (stats: Record<string, number>) => drops(stats).reduce((total, [, count]) => total + count, 0)
  const before = await endpoint.supervisor.stats()
  send()
  const after = await endpoint.waitForStats((stats) => sum(stats) > sum(before))
  return drops(after).flatMap(([name, count]) => (count > (before[name] ?? 0) ? [name] : []))
}

const authorityOf = (address: string): string =>
  address.includes(':') ? `[${address}]:${PORT}` : `${address}:${PORT}`

describe.each([
  ['private networks closed', false, GUARDED],
  ['private networks open', true, OPENED],
])('%s', (_, allowPrivate, rows) => {
  let guarded: Guarded
  beforeAll(async () => {
    guarded = await start({ allowPrivate })
  })
  afterAll(() => stop(guarded))

  it.each(rows)('TCP to %s is judged %s', (address, code) =>
    expectRefusal(guarded, authorityOf(address), code),
  )

  it.each(rows)('TCP to a name that is %s is judged %s', (address, code) =>
    expectRefusal(guarded, `${nameOf(address)}:${PORT}`, code),
  )

  it('UDP to all of these addresses is judged like TCP', async () => {
    const udp = await UdpClient.open(guarded.client)
    for (const [address, code] of rows) {
      const drops = await nextDrop(guarded, 'udp_drops', () => udp.send({ address, port: PORT }, 'x'))
      expect([address, drops]).toEqual([address, [`udp_drops{${code}}`]])
    }
    // A refused destination stays refused, and the stream lives.
    const again = await nextDrop(guarded, 'udp_drops', () =>
      udp.send({ address: '224.0.0.1', port: PORT }, 'x'),
    )
    expect(again).toEqual(['udp_drops{target_private}'])
    expect(udp.replies).toEqual([])
  })

  it.skipIf(!isRoot)(
    `ICMP to all of these addresses is judged like TCP${isRoot ? '' : ' (skipped: needs root)'}`,
    async () => {
      const { status, stream } = await guarded.client.connect('_icmp')
      expect(status).toBe(200)
      for (const [destination, code] of rows) {
        const request = encodeIcmpRequest({ id: 1, destination, sequence: 1, ttl: 64, dataSize: 8 })
        const drops = await nextDrop(guarded, 'icmp_drops', () => stream.write(request))
        expect([destination, drops]).toEqual([destination, [`icmp_drops{${code}}`]])
      }
    },
  )
})

describe('names', () => {
  let guarded: Guarded
  beforeAll(async () => {
    guarded = await start({ allowPrivate: false })
  })
  afterAll(() => stop(guarded))

  it.each([
    ['loopback and private', ['127.0.0.1', '10.0.0.1'], 'target_private'],
    ['both kinds of loopback', ['127.0.0.1', '::1'], 'target_loopback'],
    ['private and global', ['10.0.0.1', '8.8.8.8'], 'target_denied'],
    ['private IPv6 and global IPv4', ['fd00::1', '8.8.8.8'], 'target_denied'],
    ['IPv4 in IPv6 only', ['::ffff:192.168.0.1', '64:ff9b::10.0.0.1'], 'target_private'],
  ] as const)('a name is refused whose addresses are %s', (_, addresses, code) =>
    expectRefusal(guarded, `${nameOf(...addresses)}:${PORT}`, code),
  )

  it.each(['localhost', 'LOCALHOST', 'localhost.', 'anything.localhost'])('the name %s is loopback', (name) =>
    expectRefusal(guarded, `${name}:${PORT}`, 'target_loopback'),
  )

  it.each(['127.1', '2130706433', '0x7f000001', '017700000001', '127.0.0.1.', '0x7f.1', '[::1%lo]'])(
    'a name that is the number %s is refused',
    async (host) => {
      const { status, headers, stream } = await guarded.client.connect(`${host}:${PORT}`)
      stream.close()
      expect([status, headers['x-warning']]).toEqual([502, '300 - Connection failed for some reason'])
    },
  )
})

describe('without IPv6', () => {
  let guarded: Guarded
  beforeAll(async () => {
    guarded = await start({ allowPrivate: false, keys: 'ipv6_available = false' })
  })
  afterAll(() => stop(guarded))

  it('without IPv6 a literal is unreachable, over UDP too', async () => {
    await expectRefusal(guarded, `[2606:4700::1]:${PORT}`, 'target_unreachable')
    const udp = await UdpClient.open(guarded.client)
    const target = { address: '2606:4700::1', port: PORT }
    expect(await nextDrop(guarded, 'udp_drops', () => udp.send(target, 'x'))).toEqual([
      'udp_drops{target_unreachable}',
    ])
  })

  it('without IPv6 a name is asked for IPv4 only', async () => {
    await expectRefusal(guarded, `${nameOf('2606:4700::1', '8.8.8.8')}:${PORT}`, 'target_denied')
    expect(guarded.dns.questions.filter((question) => question.startsWith('6'))).toEqual([])
  })
})

expectNothingLeftOpen()
