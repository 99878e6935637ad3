/** Every decoder against random bytes for a fixed time. The seed is printed; `CULVERT_FUZZ_SEED` repeats a run. */
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { EndpointError } from '../../src/errors.ts'
import { parseAuthority } from '../../src/wire/authority.ts'
import { parseBasicAuth } from '../../src/wire/basic-auth.ts'
import { ClientHelloParser } from '../../src/wire/client-hello.ts'
import { decodeDeepLink } from '../../src/wire/deep-link.ts'
import { IcmpReplyDecoder, IcmpRequestDecoder } from '../../src/wire/icmp-frame.ts'
import { HpackDecoder } from '../../src/wire/http2/hpack-decoder.ts'
import { encodeFields } from '../../src/wire/http2/hpack-encoder.ts'
import { parseIpPrefix } from '../../src/wire/ip-prefix.ts'
import { parseProxyHeader } from '../../src/wire/proxy-protocol.ts'
import { UdpDownlinkDecoder, UdpUplinkDecoder } from '../../src/wire/udp-frame.ts'
import clientHellos from '../vectors/client-hello.json' with { type: 'json' }
import hpack from '../vectors/hpack.json' with { type: 'json' }
import wire from '../vectors/wire.json' with { type: 'json' }

const TIME_LIMIT_MS = 1500
const seed = Number(process.env['CULVERT_FUZZ_SEED'] ?? Date.now() % 2 ** 31)

const valid = [
  ...wire.udp_uplink.map((vector) => vector.frameHex),
  ...wire.udp_downlink.map((vector) => vector.frameHex),
  ...wire.icmp_request.map((vector) => vector.frameHex),
  ...clientHellos.map((vector) => vector.recordHex),
  ...hpack.examples.flatMap(({ blocks }) => blocks.map(({ hex }) => hex)),
].map((hex) => Buffer.from(hex, 'hex'))

/** Random bytes, or valid ones with a few changed. */
const input = fc.oneof(
  fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
  fc
    .tuple(fc.constantFrom(...valid), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }))
    .map(([bytes, changes]) => {
      const changed = Buffer.from(bytes)
      for (const [at, byte] of changes) changed[at % changed.length] = byte
      return changed
    }),
)

function run(property: fc.IProperty<[Buffer, number]>): void {
  console.log(`fuzz seed ${seed}`)
  fc.assert(property, {
    seed,
    numRuns: Number.MAX_SAFE_INTEGER,
    interruptAfterTimeLimit: TIME_LIMIT_MS,
    markInterruptAsFailure: false,
  })
}

/** Runs `decode` on the whole input and on its two parts; both must give the same, errors included. */
function splitProof(create: (seen: unknown[]) => (chunk: Buffer) => void): fc.IProperty<[Buffer, number]> {
  const outcome = (chunks: Buffer[]): unknown => {
    const seen: unknown[] = []
    const push = create(seen)
    try {
      for (const chunk of chunks) push(chunk)
    } catch (error) {
      expect(error).toBeInstanceOf(EndpointError)
      return [...seen, error instanceof EndpointError ? error.code : error]
    }
    return seen
  }
  return fc.property(input, fc.nat(500), (bytes, at) => {
    const parts = [bytes.subarray(0, at), bytes.subarray(at)].filter((part) => part.length > 0)
    expect(outcome(parts)).toEqual(outcome(bytes.length > 0 ? [bytes] : []))
  })
}

it('the decoder of the UDP uplink takes any bytes', () => {
  run(
    splitProof((seen) => {
      const decoder = new UdpUplinkDecoder({
        onDatagram: (found) =>
          void seen.push([found.source.address, found.appName, found.payload.toString('hex')].join(' ')),
        onSkipped: (reason) => void seen.push(reason),
      })
      return (chunk) => decoder.push(chunk)
    }),
  )
})

it('the decoder of the UDP downlink takes any bytes', () => {
  run(
    splitProof((seen) => {
      const decoder = new UdpDownlinkDecoder(
        (found) => void seen.push(found.payload.toString('hex')),
        (reason) => void seen.push(reason),
      )
      return (chunk) => decoder.push(chunk)
    }),
  )
})

it('the decoder of ICMP frames takes any bytes', () => {
  run(
    splitProof((seen) => {
      const requests = new IcmpRequestDecoder()
      return (chunk) => void seen.push(...requests.push(chunk))
    }),
  )
  run(
    splitProof((seen) => {
      const replies = new IcmpReplyDecoder()
      return (chunk) => void seen.push(...replies.push(chunk))
    }),
  )
})

it('the reader of the ClientHello takes any bytes', () => {
  run(
    fc.property(input, fc.nat(500), (bytes, at) => {
      const whole = new ClientHelloParser().push(bytes)
      const parser = new ClientHelloParser()
      parser.push(bytes.subarray(0, at))
      expect(parser.push(bytes.subarray(at))).toEqual(whole)
    }),
  )
})

it('the decoder of header blocks takes any bytes, and what it reads can be written and read again', () => {
  const read = (bytes: Buffer): [string, string][] => {
    const fields: [string, string][] = []
    new HpackDecoder(4096).decode(bytes, { onField: (name, value) => void fields.push([name, value]) })
    return fields
  }
  run(
    fc.property(input, fc.nat(500), (bytes, from) => {
      try {
        const fields = read(bytes.subarray(from % (bytes.length + 1)))
        expect(read(encodeFields(fields))).toEqual(fields)
      } catch (error) {
        expect(error).toMatchObject({ code: 'malformed' })
      }
    }),
  )
})

it('the parsers of text and headers take anything', () => {
  run(
    fc.property(input, fc.constant(0), (bytes, _unused) => {
      const text = bytes.toString('latin1')
      parseProxyHeader(bytes)
      parseBasicAuth(text)
      parseBasicAuth(`Basic ${bytes.toString('base64')}`)
      parseIpPrefix(text)
      for (const read of [
        () => parseAuthority(text),
        () => decodeDeepLink(text),
        () => decodeDeepLink(`tt://?${bytes.toString('base64url')}`),
      ]) {
        try {
          read()
        } catch (error) {
          expect(error).toBeInstanceOf(EndpointError)
        }
      }
    }),
  )
})
