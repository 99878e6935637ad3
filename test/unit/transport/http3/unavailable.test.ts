/** Where the addon has no binary, HTTP/3 reports that, and nothing else happens. */
import { tmpdir } from 'node:os'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { systemClock } from '../../../../src/clock.ts'
import { Counters } from '../../../../src/counters.ts'
import { SpillArea } from '../../../../src/relay/spill-area.ts'
import { Http3Transport } from '../../../../src/transport/http3/transport.ts'
import { testCertificate } from '../../../support/certificate.ts'
import { HTTP3_OPTIONS } from '../../../support/room-options.ts'

test('a platform without the addon is a result, not an exception', async () => {
  const platform = process.platform
  const { cert, key } = testCertificate()
  const counters = new Counters()
  const log = pino({ level: 'silent' })
  const transport = new Http3Transport(
    { ...HTTP3_OPTIONS, host: '127.0.0.1', port: 0, cert: Buffer.from(cert), key: Buffer.from(key) },
    {
      clock: systemClock,
      counters,
      log,
      uploads: new SpillArea({ directory: tmpdir(), memoryBytes: 1, budgetBytes: 1 }, { counters, log }),
      acceptSession: () => ({ onExchange: () => {}, onClose: () => {} }),
      admit: () => undefined,
      userOf: () => undefined,
      channelOf: () => 'main',
    },
  )
  Object.defineProperty(process, 'platform', { value: 'sunos' })
  try {
    const started = await transport.start()
    expect(started.kind).toBe('unavailable')
  } finally {
    Object.defineProperty(process, 'platform', { value: platform })
  }
  expect(await transport.openReplacement(Buffer.from(cert), Buffer.from(key))).toBeUndefined()
  await transport.close({ graceMs: 0 })
})
