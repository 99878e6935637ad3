/**
 * A new certificate over HTTP/3 takes a new server on the same port, and for a moment the port belongs to nobody. When
 * somebody else took it just then, HTTP/3 was gone for good: a single attempt was made, and later reloads took the new
 * certificate for the one that is shown.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { pino } from 'pino'
import { afterEach, expect, it, vi } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Settings } from '../../src/config/settings.ts'
import { Lane } from '../../src/lane/lane.ts'
import { Listener } from '../../src/transport/http3/listener.ts'
import { encodeBasicAuth } from '../../src/wire/basic-auth.ts'
import { createTestCertificate } from '../support/certificate.ts'
import type { TestCertificate } from '../support/certificate.ts'
import { ConfigDirectory, VPN } from '../support/config-directory.ts'
import { H3Client } from '../support/h3-client.ts'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { loneLane, planOf } from '../support/lane-share.ts'

const ALICE = { 'proxy-authorization': encodeBasicAuth('alice', 's3cret') }

const ALICE_ALONE = planOf('alice')

afterEach(() => vi.restoreAllMocks())

function withCertificate({ hosts, ...settings }: Settings, { cert, key }: TestCertificate): Settings {
  const main = hosts.main_hosts.map((host) => ({ ...host, cert_chain: cert, private_key: key }))
  return { ...settings, hosts: { ...hosts, main_hosts: main } }
}

async function openStage() {
  using directory = new ConfigDirectory({
    'vpn.toml': `${VPN.replace(':8443', ':0')}[listen_protocols.quic]\n`,
  })
  const settings = await directory.load()
  const messages: string[] = []
  const log = pino({ level: 'error' }, { write: (line: string) => void messages.push(line) })
  const lane = await Lane.open(settings, {
    clock: systemClock,
    log,
    ticketKeys: Buffer.alloc(48),
    share: { ...loneLane(), ledger: ALICE_ALONE },
  })
  const fresh = createTestCertificate(['vpn.endpoint'])
  return { lane, messages, fresh, changed: withCertificate(settings, fresh) }
}

async function apply(lane: Lane, settings: Settings): Promise<void> {
  await lane.prepare(settings, ALICE_ALONE)
  await lane.commit()
}

/** Binds the port as soon as the first server has left it; returns how to give it back. */
function takePortInBetween(port: number): () => Promise<void> {
  const squatter = createSocket('udp4')
  const close = Object.getOwnPropertyDescriptor(Listener.prototype, 'close')?.value as Listener['close']
  vi.spyOn(Listener.prototype, 'close').mockImplementationOnce(async function (this: Listener, graceMs) {
    await close.call(this, graceMs)
    squatter.bind(port, '127.0.0.1')
    await once(squatter, 'listening')
  })
  return async () => {
    squatter.close()
    await once(squatter, 'close')
  }
}

async function expectShown(port: number, { cert }: TestCertificate): Promise<void> {
  await using client = await H3Client.open(port, { ca: cert, rejectUnauthorized: true })
  expect((await client.tunnel('_check', ALICE)).status).toBe(200)
}

it('a new certificate over HTTP/3 is shown although somebody else had the port for a moment', async () => {
  const { lane, messages, fresh, changed } = await openStage()
  const giveBack = takePortInBetween(lane.address.port)
  const failed = Promise.withResolvers<void>()
  const listen = Object.getOwnPropertyDescriptor(Listener.prototype, 'listen')?.value as Listener['listen']
  vi.spyOn(Listener.prototype, 'listen').mockImplementationOnce(function (this: Listener, place) {
    try {
      listen.call(this, place)
    } finally {
      failed.resolve()
    }
  })
  const applied = apply(lane, changed)
  await failed.promise
  await giveBack()
  await applied
  expect(messages).toEqual([])
  await expectShown(lane.address.port, fresh)
  await lane.close({ graceMs: 0 })
})

it('a new certificate over HTTP/3 whose port stayed taken is shown after the next reload', async () => {
  const { lane, messages, fresh, changed } = await openStage()
  const giveBack = takePortInBetween(lane.address.port)
  await apply(lane, changed)
  expect(messages).toHaveLength(1)
  expect(messages[0]).toContain('until the next reload')
  await giveBack()
  await apply(lane, changed)
  await expectShown(lane.address.port, fresh)
  await lane.close({ graceMs: 0 })
})

expectNothingLeftOpen()
