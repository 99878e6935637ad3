/**
 * Runs in a network namespace whose loopback interface has public addresses: a whole endpoint, with targets of its own
 * on one of them. Writes one line of JSON that says how each way of reaching them ended.
 */
import { execFileSync } from 'node:child_process'
import { encodeIcmpRequest } from '../../src/wire/icmp-frame.ts'
import { USER, startEndpoint } from './endpoint.ts'
import { H2Client } from './h2-client.ts'
import { openEcho, openUdpEcho } from './targets.ts'
import { UdpClient } from './udp-client.ts'

/** The rest are addresses of the machine that no interface lists. */
const [OWN = '', LATER = '', ...UNLISTED] = process.argv.slice(2)

await using closed = await openEcho('0.0.0.0')
await using opened = await openEcho('0.0.0.0')
await using udpClosed = await openUdpEcho({ host: '0.0.0.0' })
await using udpOpened = await openUdpEcho({ host: OWN })
await using endpoint = await startEndpoint({
  allowPrivate: false,
  tables: `[icmp]\n[culvert.egress]\nallow = ["${OWN}:${opened.port}", "${OWN}:${udpOpened.port}"]\n`,
})
await using client = await H2Client.open({ port: endpoint.port, ...USER })

async function connect(address: string, port: number): Promise<string> {
  const authority = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
  const { status, headers, stream } = await client.connect(authority)
  stream.close()
  return `${status} ${String(headers['x-warning'] ?? '')}`.trim()
}

const tcp = { closed: await connect(OWN, closed.port), opened: await connect(OWN, opened.port) }
const unlisted: string[] = []
for (const address of UNLISTED) unlisted.push(await connect(address, closed.port))

const udp = await UdpClient.open(client)
udp.send({ address: OWN, port: udpClosed.port }, 'x')
const udpReply = (await udp.ask({ address: OWN, port: udpOpened.port }, 'y')).payload.toString()

const icmp = await client.connect('_icmp')
icmp.stream.write(encodeIcmpRequest({ id: 1, destination: OWN, sequence: 1, ttl: 64, dataSize: 8 }))
const stats = await endpoint.waitForStats((counted) => counted['icmp_drops{target_private}'] === 1)

execFileSync('ip', ['addr', 'add', `${LATER}/32`, 'dev', 'lo'])
let later = ''
while (!later.startsWith('502 310')) {
  later = await connect(LATER, closed.port)
  await new Promise((resolve) => setTimeout(resolve, 100))
}

console.log(
  JSON.stringify({
    tcp,
    unlisted,
    udp: { reply: udpReply, received: udpClosed.received.length, drops: stats['udp_drops{target_private}'] },
    later,
  }),
)
