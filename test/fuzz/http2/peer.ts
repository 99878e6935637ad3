/**
 * A client that keeps books: it sends what RFC 9113 allows, unless it is told to be hostile, and notes everything that
 * the endpoint does and may not.
 */
import { encodeBasicAuth } from '../../../src/wire/basic-auth.ts'
import {
  ACK,
  END_HEADERS,
  END_STREAM,
  PADDED,
  PREFACE,
  PRIORITY,
  frame,
  frameName,
  headerBlock,
  uint32,
} from '../../support/http2-frames.ts'
import type { Random } from '../../support/random.ts'
import { ContentCheck, streamBytes } from './stream-bytes.ts'

const HEAD_BYTES = 9
const DEFAULT_WINDOW = 65_535
const MAX_WINDOW = 2 ** 31 - 1
const MAX_FRAME = 16_384

/** One stream as the client sees it. */
export class PeerStream {
  readonly id: number
  /** Content that was sent, without padding. */
  sentBytes = 0
  hasEnded = false
  hasReset = false
  readonly received: ContentCheck
  gotHead = false
  gotEnd = false
  /** The code, once it has come. */
  gotReset: number | undefined
  /** Of what may be sent: what came with WINDOW_UPDATE, less what was sent. The initial window comes on top. */
  sendBase = 0
  /** The same for what the endpoint may send. */
  grantBase = 0

  constructor(id: number) {
    this.id = id
    this.received = new ContentCheck(id)
  }

  get isOver(): boolean {
    if (this.hasReset || this.gotReset !== undefined) return true
    return this.hasEnded && this.gotEnd
  }
}

export class Peer {
  readonly faults: string[] = []
  readonly streams = new Map<number, PeerStream>()
  /** Nothing is wrong if the endpoint complains. */
  isHostile = false
  goaway: number | undefined
  maxStreams = Infinity
  #out = Buffer.from(PREFACE)
  #in = Buffer.alloc(0)
  #lastId = -1
  readonly #random: Random
  // What we may send.
  #sendWindow = DEFAULT_WINDOW
  #initialSend = DEFAULT_WINDOW
  // What the endpoint may send: its view may be any of these values of the initial window.
  #grant = DEFAULT_WINDOW
  #initialGrants = [DEFAULT_WINDOW]
  #pings: string[] = []
  #settings = 0
  #priorities = 0
  #hasSettings = false
  #inBlock = 0

  constructor(random: Random) {
    this.#random = random
    this.sendSettings([])
  }

  get open(): PeerStream[] {
    return [...this.streams.values()].filter(({ isOver }) => !isOver)
  }

  /** Bytes that are to be delivered to the endpoint. */
  get pendingBytes(): number {
    return this.#out.length
  }

  take(bytes: number): Buffer {
    const taken = this.#out.subarray(0, bytes)
    this.#out = this.#out.subarray(bytes)
    return taken
  }

  #send(...frames: Buffer[]): void {
    this.#out = Buffer.concat([this.#out, ...frames])
  }

  windowOf(stream: PeerStream): number {
    return this.#initialSend + stream.sendBase
  }

  // What a client does.

  openStream(method: 'CONNECT' | 'GET' | 'POST', hasContent: boolean): void {
    if (this.goaway !== undefined || this.open.length >= this.maxStreams - 1) return
    const random = this.#random
    this.#lastId += 2
    // A hostile frame may have opened it.
    const stream = this.streams.get(this.#lastId) ?? new PeerStream(this.#lastId)
    this.streams.set(stream.id, stream)
    const target: [string, string][] =
      method === 'CONNECT'
        ? []
        : [
            [':scheme', 'https'],
            [':path', `/${'x'.repeat(random.size(3000))}`],
          ]
    const block = headerBlock([
      [':method', method],
      ...target,
      [':authority', 'host.example:443'],
      ['proxy-authorization', encodeBasicAuth('user', 'password')],
    ])
    stream.hasEnded = !hasContent
    this.#sendBlock(stream.id, block, hasContent ? 0 : END_STREAM)
  }

  /** In any number of frames, perhaps padded, perhaps with a priority. */
  #sendBlock(stream: number, block: Buffer, flags: number): void {
    const random = this.#random
    const cuts = Array.from(
      { length: random.oneIn(4) ? random.below(4) : 0 },
      () => 1 + random.below(block.length),
    )
    const places = [0, ...new Set(cuts.toSorted((a, b) => a - b)), block.length].filter(
      (place, index, all) => index === 0 || place !== all[index - 1],
    )
    const parts = places.slice(1).map((end, index) => block.subarray(places[index], end))
    for (const [index, part] of parts.entries()) {
      const last = index === parts.length - 1 ? END_HEADERS : 0
      if (index > 0) {
        this.#send(frame('CONTINUATION', { stream, flags: last, payload: part }))
        continue
      }
      const padding = random.oneIn(4) ? random.below(200) : -1
      const priority = random.oneIn(4) ? Buffer.from([0, 0, 0, 0, 10]) : Buffer.alloc(0)
      const payload = Buffer.concat([
        padding < 0 ? Buffer.alloc(0) : Buffer.from([padding]),
        priority,
        part,
        Buffer.alloc(Math.max(0, padding)),
      ])
      const more = (padding < 0 ? 0 : PADDED) | (priority.length > 0 ? PRIORITY : 0)
      this.#send(frame('HEADERS', { stream, flags: flags | last | more, payload }))
    }
  }

  sendData(stream: PeerStream, wanted: number, endsStream: boolean): void {
    if (stream.hasEnded || stream.isOver) return
    const random = this.#random
    const room = Math.min(this.windowOf(stream), this.#sendWindow, MAX_FRAME)
    const padding = random.oneIn(5) && room > 300 ? random.below(256) : -1
    const content = Math.max(0, Math.min(wanted, room - padding - 1))
    if (room <= 0 && !endsStream) return
    const payload = Buffer.concat([
      padding < 0 ? Buffer.alloc(0) : Buffer.from([padding]),
      streamBytes(stream.id, stream.sentBytes, content),
      Buffer.alloc(Math.max(0, padding)),
    ])
    stream.sentBytes += content
    stream.sendBase -= payload.length
    this.#sendWindow -= payload.length
    stream.hasEnded = endsStream
    const flags = (padding < 0 ? 0 : PADDED) | (endsStream ? END_STREAM : 0)
    this.#send(frame('DATA', { stream: stream.id, flags, payload }))
  }

  sendTrailers(stream: PeerStream): void {
    if (stream.hasEnded || stream.isOver) return
    stream.hasEnded = true
    this.#sendBlock(stream.id, headerBlock([['x-sum', '1']]), END_STREAM)
  }

  sendReset(stream: PeerStream, code: number): void {
    if (stream.hasReset || (stream.hasEnded && stream.gotEnd)) return
    stream.hasReset = true
    this.#send(frame('RST_STREAM', { stream: stream.id, payload: uint32(code) }))
  }

  /** More for one stream, or for the connection. */
  grant(stream: PeerStream | undefined, bytes: number): void {
    if (stream?.isOver === true) return
    if (stream === undefined) this.#grant += bytes
    else stream.grantBase += bytes
    this.#send(frame('WINDOW_UPDATE', { stream: stream?.id ?? 0, payload: uint32(bytes) }))
  }

  sendSettings(settings: readonly (readonly [number, number])[]): void {
    if (this.#settings++ > 50) return
    for (const [identifier, value] of settings) if (identifier === 4) this.#initialGrants.push(value)
    if (settings.every(([identifier]) => identifier !== 4))
      this.#initialGrants.push(this.#initialGrants.at(-1) ?? DEFAULT_WINDOW)
    const payload = settings.map(([identifier, value]) =>
      Buffer.concat([Buffer.from([0, identifier]), uint32(value)]),
    )
    this.#send(frame('SETTINGS', { payload: Buffer.concat(payload) }))
  }

  sendPing(): void {
    const payload = this.#random.bytes(8)
    this.#pings.push(payload.toString('hex'))
    this.#send(frame('PING', { payload }))
  }

  sendNothingMuch(): void {
    const random = this.#random
    const stream = 1 + 2 * random.below(10)
    if (random.oneIn(2) && this.#priorities++ < 100)
      this.#send(frame('PRIORITY', { stream, payload: Buffer.from([0, 0, 0, 0, 7]) }))
    else
      this.#send(
        frame(0x10 + random.below(200), {
          stream,
          flags: random.below(256),
          payload: random.bytes(random.size(300)),
        }),
      )
  }

  /** A frame, or half of one, that need not make sense. */
  sendHostile(): void {
    this.isHostile = true
    const random = this.#random
    const stream = random.pick([0, 1, 2, 3, 5, 7, Math.max(1, this.#lastId), this.#lastId + 2, 2 ** 32 - 1])
    const payload = random.pick([
      random.bytes(random.size(100)),
      uint32(random.pick([0, 1, 0x7fffffff, 0xffffffff])),
      Buffer.concat([
        Buffer.from([0, random.below(8)]),
        uint32(random.pick([0, 1, 65_535, 0x7fffffff, 0xffffffff])),
      ]),
      headerBlock([
        [':method', 'CONNECT'],
        [':authority', 'a:1'],
      ]),
      Buffer.alloc(random.size(20_000)),
      Buffer.alloc(0),
    ])
    const made = frame(random.below(11), {
      stream,
      flags: random.pick([0, END_STREAM, END_HEADERS, END_HEADERS | END_STREAM, PADDED, random.below(256)]),
      payload,
      ...(random.oneIn(10) && { length: random.below(2 ** 24) }),
    })
    this.#send(random.oneIn(10) ? made.subarray(0, random.below(made.length)) : made)
  }

  // What the endpoint does.

  readonly onBytes = (bytes: Buffer): void => {
    this.#in = Buffer.concat([this.#in, bytes])
    while (this.#in.length >= HEAD_BYTES) {
      const end = HEAD_BYTES + this.#in.readUIntBE(0, 3)
      if (this.#in.length < end) return
      const name = frameName(this.#in.readUInt8(3))
      this.#onFrame(name, this.#in.readUInt8(4), this.#in.readUInt32BE(5), this.#in.subarray(HEAD_BYTES, end))
      this.#in = this.#in.subarray(end)
    }
  }

  #fault(text: string): void {
    this.faults.push(text)
  }

  #onFrame(name: string | undefined, flags: number, id: number, payload: Buffer): void {
    if (!this.#hasSettings && name !== 'SETTINGS') this.#fault('the first frame is not SETTINGS')
    this.#hasSettings = true
    if (payload.length > MAX_FRAME) this.#fault('a frame is too long')
    if (this.#inBlock !== 0 && (name !== 'CONTINUATION' || id !== this.#inBlock))
      this.#fault('a block was interrupted')
    switch (name) {
      case 'DATA':
        return this.#onData(flags, id, payload)
      case 'HEADERS':
        return this.#onHeaders(flags, id)
      case 'CONTINUATION':
        this.#inBlock = (flags & END_HEADERS) === 0 ? id : 0
        return
      case 'RST_STREAM':
        return this.#onReset(id, payload.readUInt32BE(0))
      case 'SETTINGS':
        return this.#onSettings(flags, payload)
      case 'PING':
        return this.#onPing(flags, payload)
      case 'WINDOW_UPDATE':
        return this.#onWindowUpdate(id, payload.readUInt32BE(0))
      case 'GOAWAY':
        if (this.goaway !== undefined && payload.readUInt32BE(0) > this.goaway)
          this.#fault('GOAWAY promises more')
        this.goaway = payload.readUInt32BE(0)
        if (!this.isHostile && payload.readUInt32BE(4) !== 0) this.#fault(`GOAWAY ${payload.readUInt32BE(4)}`)
        return
      default:
        this.#fault(`a frame ${name}`)
    }
  }

  #streamOf(id: number, what: string): PeerStream {
    const stream = this.streams.get(id)
    if (stream !== undefined) return stream
    const unknown = new PeerStream(id)
    // A hostile frame may have opened it.
    if (!this.isHostile) this.#fault(`${what} on stream ${id}`)
    this.streams.set(id, unknown)
    return unknown
  }

  #onData(flags: number, id: number, payload: Buffer): void {
    const stream = this.#streamOf(id, 'DATA')
    if (!stream.gotHead) this.#fault(`DATA before HEADERS on ${id}`)
    if (stream.gotEnd || stream.gotReset !== undefined) this.#fault(`DATA after the end of ${id}`)
    stream.grantBase -= payload.length
    this.#grant -= payload.length
    if (!this.isHostile && payload.length > 0) {
      if (this.#grant < 0) this.#fault(`the connection's window is overrun by ${-this.#grant}`)
      const window = stream.grantBase + Math.max(...this.#initialGrants)
      if (window < 0) this.#fault(`the window of ${id} is overrun by ${-window}`)
    }
    stream.received.take(payload)
    if (stream.received.fault !== undefined) this.#fault(stream.received.fault)
    stream.gotEnd ||= (flags & END_STREAM) !== 0
  }

  #onHeaders(flags: number, id: number): void {
    const stream = this.#streamOf(id, 'HEADERS')
    if (stream.gotHead) this.#fault(`a second head on ${id}`)
    if (stream.gotReset !== undefined) this.#fault(`HEADERS after the reset of ${id}`)
    stream.gotHead = true
    stream.gotEnd = (flags & END_STREAM) !== 0
    this.#inBlock = (flags & END_HEADERS) === 0 ? id : 0
  }

  #onReset(id: number, code: number): void {
    const stream = this.#streamOf(id, 'RST_STREAM')
    if (stream.gotReset !== undefined && !this.isHostile) this.#fault(`a second reset of ${id}`)
    if (!this.isHostile && ![0, 2, 7, 8].includes(code)) this.#fault(`a reset of ${id} with ${code}`)
    stream.gotReset = code
  }

  #onSettings(flags: number, payload: Buffer): void {
    if (flags === ACK) {
      // A hostile frame may have been acknowledged.
      if (this.#initialGrants.length > 1) this.#initialGrants.shift()
      else if (!this.isHostile) this.#fault('an acknowledgement too many')
      return
    }
    for (let at = 0; at < payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2)
      if (payload.readUInt16BE(at) === 4) this.#initialSend = value
      if (payload.readUInt16BE(at) === 3) this.maxStreams = value
    }
    this.#send(frame('SETTINGS', { flags: ACK }))
  }

  #onPing(flags: number, payload: Buffer): void {
    if (flags !== ACK) return this.#send(frame('PING', { flags: ACK, payload }))
    const expected = this.#pings.shift()
    if (expected !== payload.toString('hex') && !this.isHostile) this.#fault('not the PING that was sent')
  }

  #onWindowUpdate(id: number, bytes: number): void {
    if (bytes === 0) this.#fault('WINDOW_UPDATE by 0')
    if (id === 0) {
      this.#sendWindow += bytes
      if (this.#sendWindow > MAX_WINDOW) this.#fault('the window of the connection is too large')
      return
    }
    const stream = this.#streamOf(id, 'WINDOW_UPDATE')
    stream.sendBase += bytes
    if (this.windowOf(stream) > MAX_WINDOW) this.#fault(`the window of ${id} is too large`)
    if (stream.gotReset !== undefined) this.#fault(`WINDOW_UPDATE after the reset of ${id}`)
  }
}
