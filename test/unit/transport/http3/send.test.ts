/** One slow reader must not take the 4 MiB of unsent bytes that the HTTP/3 library shares between all streams. */
import { describe, expect, test } from 'vitest'
import { SendWindows } from '../../../../src/transport/http3/send.ts'
import type { SendShare } from '../../../../src/transport/http3/send-share.ts'
import { MAX_PIECE_BYTES } from '../../../../src/transport/http3/send-window.ts'
import type { SendOwner, SendWindow, WindowPort } from '../../../../src/transport/http3/send-window.ts'
import { Wire } from '../../../../src/transport/http3/wire.ts'
import type { WirePort, WireSample } from '../../../../src/transport/http3/wire.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

const PIECE = Buffer.alloc(MAX_PIECE_BYTES)

/** The library: counts what it is given, refuses when told to. */
class Port implements WindowPort, WirePort {
  admitting = true
  held = 0
  sentInPackets = 0
  readonly marks: number[] = []
  readonly sent = new Map<number, number>()

  send(_session: number, stream: number, chunk: Buffer): boolean {
    if (!this.admitting) return false
    this.sent.set(stream, (this.sent.get(stream) ?? 0) + chunk.length)
    return true
  }

  mark(_session: number, stream: number): boolean {
    if (!this.admitting) return false
    this.marks.push(stream)
    return true
  }

  pendingBytes(): number {
    return this.held
  }

  sample(): WireSample {
    return { sentBytes: this.sentInPackets, rttMs: 1 }
  }

  ping(): void {}
}

/** A stream with endless output, or with `left` bytes of it. */
class Source implements SendOwner {
  readonly window: SendWindow
  stuck = false
  left: number

  constructor(share: SendShare, stream: number, left = Infinity) {
    this.window = share.open(stream, this)
    this.left = left
  }

  onSendReady(): void {
    while (this.left > 0 && this.window.send(PIECE.subarray(0, Math.min(this.left, PIECE.length)), false)) {
      this.left = Math.max(0, this.left - PIECE.length)
    }
  }

  onSendStuck(): void {
    this.stuck = true
    this.window.close()
  }
}

function setUp(): {
  port: Port
  clock: FakeClock
  windows: SendWindows
  source: Source
  /** Every session belongs to a user of its own unless told otherwise. */
  open: (session: number, user?: string | null) => SendShare
} {
  const port = new Port()
  const clock = new FakeClock()
  const windows = new SendWindows(port, clock)
  const open = (session: number, user: string | null = `user ${session}`): SendShare =>
    windows.openSession(new Wire(session, port), {
      address: `192.0.2.${session}`,
      userOf: () => user ?? undefined,
    })
  return { port, clock, windows, open, source: new Source(open(1), 0) }
}

describe('SendWindow', () => {
  test('a send window sends one window, then waits for marks, and grows with each of them', () => {
    const { port, source } = setUp()
    source.onSendReady()
    const first = port.sent.get(0) ?? 0
    expect(first).toBeLessThanOrEqual(2 * MAX_PIECE_BYTES)
    expect(port.marks).toEqual([0])
    source.window.onMark()
    expect(port.sent.get(0)).toBeGreaterThan(2 * first)
    for (let round = 0; round < 20; round++) source.window.onMark()
    const before = port.sent.get(0) ?? 0
    source.window.onMark()
    expect((port.sent.get(0) ?? 0) - before).toBeLessThanOrEqual(16 * MAX_PIECE_BYTES)
  })

  test('a send window sends nothing while blocked, and a small window once all is written', () => {
    const { port, source } = setUp()
    source.onSendReady()
    for (let round = 0; round < 5; round++) source.window.onMark()
    source.window.onBlocked()
    const before = port.sent.get(0) ?? 0
    source.window.onMark()
    source.window.onRoom(false)
    expect(port.sent.get(0)).toBe(before)
    source.window.onRoom(true)
    expect((port.sent.get(0) ?? 0) - before).toBe(2 * MAX_PIECE_BYTES)
  })

  test('a send window is not misled by a mark from before it was blocked', () => {
    const { port, source } = setUp()
    source.onSendReady()
    source.window.onBlocked()
    source.window.onRoom(true)
    const before = port.sent.get(0) ?? 0
    // A late confirmation: it covers nothing that was sent since.
    source.window.onMark()
    expect(port.sent.get(0)).toBe(before)
  })

  test('a send window goes on after a silence when the library holds nothing', () => {
    const { port, clock, source } = setUp()
    source.onSendReady()
    source.window.onBlocked()
    source.window.onRoom(false)
    const before = port.sent.get(0) ?? 0
    clock.advance(1000)
    expect(port.sent.get(0)).toBeGreaterThan(before)
  })

  test('a send window trickles after a silence while the library holds something, with an end', () => {
    const { port, clock, source } = setUp()
    port.held = 1
    source.onSendReady()
    source.window.onBlocked()
    source.window.onRoom(false)
    const before = port.sent.get(0) ?? 0
    clock.advance(60_000)
    const trickled = (port.sent.get(0) ?? 0) - before
    expect(trickled).toBeGreaterThan(0)
    expect(trickled).toBeLessThanOrEqual(16 * MAX_PIECE_BYTES)
  })

  test('a send window never sends to a stuck stream without a sign of room', () => {
    const { port, clock, source } = setUp()
    source.onSendReady()
    source.window.onBlocked()
    const before = port.sent.get(0) ?? 0
    clock.advance(600_000)
    expect(port.sent.get(0)).toBe(before)
  })

  test('a send window waits when the library refuses, and goes on when it admits', () => {
    const { port, windows, source } = setUp()
    port.admitting = false
    source.onSendReady()
    expect(port.sent.size).toBe(0)
    port.admitting = true
    windows.onAdmission()
    expect(port.sent.get(0)).toBeGreaterThan(0)
  })

  test('a send window stops its timer when nothing waits', () => {
    const { clock, source } = setUp()
    source.onSendReady()
    source.window.onBlocked()
    expect(clock.pending).toBe(1)
    source.window.onRoom(true)
    clock.advance(1000)
    expect(clock.pending).toBe(0)
  })
})

test('a library that refuses everybody costs the session that holds most its blocked streams', () => {
  const { port, clock, open } = setUp()
  const greedy = open(7)
  const hogs = Array.from({ length: 8 }, (_, at) => new Source(greedy, at * 4))
  const modest = new Source(open(8), 0)
  for (const { window } of [...hogs, modest]) {
    window.send(PIECE, false)
    window.onBlocked()
  }
  port.admitting = false
  const waiting = new Source(open(9), 0)
  waiting.onSendReady()
  clock.advance(1000)
  expect(hogs.some(({ stuck }) => stuck)).toBe(false)
  clock.advance(2000)
  expect(hogs.every(({ stuck }) => stuck)).toBe(true)
  expect(modest.stuck).toBe(false)
})

test('many small windows do not hold each other up for ever', () => {
  const { port, clock, open } = setUp()
  const shares = Array.from({ length: 14 }, (_, session) => open(session))
  const sources = new Map<number, Source>()
  for (const [session, share] of shares.entries()) {
    for (let at = 0; at < 64; at++)
      sources.set(session * 256 + at, new Source(share, session * 256 + at, 4e5))
  }
  for (const source of sources.values()) source.onSendReady()
  // The library looks at everything at once, and tells whoever has asked.
  for (let turn = 0; turn < 10_000 && port.marks.length > 0; turn++) {
    for (const stream of port.marks.splice(0)) sources.get(stream)?.window.onMark()
    port.sentInPackets += 1e9
    clock.advance(10)
  }
  expect([...sources.values()].filter(({ left }) => left > 0)).toHaveLength(0)
})

describe('shares', () => {
  test('shares of a session leave room for others, however many streams a session has', () => {
    const { port, open } = setUp()
    const greedy = open(7)
    for (let at = 0; at < 300; at++) {
      const hog = new Source(greedy, at * 4)
      hog.onSendReady()
      hog.window.onBlocked()
    }
    const held = [...port.sent.values()].reduce((sum, bytes) => sum + bytes, 0)
    expect(held).toBeLessThanOrEqual(2 * 1024 * 1024)
    const other = new Source(open(8), 4000)
    other.onSendReady()
    other.window.onMark()
    expect(port.sent.get(4000)).toBeGreaterThan(MAX_PIECE_BYTES)
  })

  test('shares of a session do not let paused streams starve their neighbours', () => {
    const { port, open } = setUp()
    const session = open(7)
    for (let at = 0; at < 80; at++) {
      const paused = new Source(session, at * 4)
      paused.onSendReady()
      paused.window.onBlocked()
    }
    const active = new Source(session, 4000)
    for (let round = 0; round < 10; round++) {
      active.onSendReady()
      active.window.onBlocked()
      active.window.onRoom(true)
    }
    expect(port.sent.get(4000)).toBeGreaterThanOrEqual(10 * MAX_PIECE_BYTES)
  })

  test('shares of a session go on when streams of the session end', () => {
    const { port, open } = setUp()
    const session = open(7)
    const sources = Array.from({ length: 300 }, (_, at) => new Source(session, at * 4))
    for (const source of sources) source.onSendReady()
    const before = port.sent.size
    expect(before).toBeLessThan(300)
    for (const { window } of sources.slice(0, before)) window.close()
    expect(port.sent.size).toBeGreaterThan(before)
  })
})

/** Opens streams whose clients take nothing, and gives what they hold. */
function holdUp(port: Port, shares: readonly SendShare[], streams: number, from = 0): Source[] {
  const sources: Source[] = []
  for (const [at, share] of shares.entries()) {
    for (let stream = 0; stream < streams; stream++) {
      const source = new Source(share, from + (at * streams + stream) * 4)
      source.onSendReady()
      if (port.sent.has(from + (at * streams + stream) * 4)) source.window.onBlocked()
      sources.push(source)
    }
  }
  return sources
}

function heldBytes(port: Port): number {
  return [...port.sent.values()].reduce((sum, bytes) => sum + bytes, 0)
}

describe('rooms', () => {
  test('strangers together leave most of the room to users, however many they are', () => {
    const { port, open } = setUp()
    const strangers = Array.from({ length: 100 }, (_, at) => open(at + 10, null))
    holdUp(port, strangers, 40)
    expect(heldBytes(port)).toBeLessThanOrEqual(1024 * 1024)
    const user = new Source(open(9), 1_000_000)
    user.onSendReady()
    for (let round = 0; round < 10; round++) user.window.onMark()
    expect(port.sent.get(1_000_000)).toBeGreaterThan(1024 * 1024)
  })

  test('a user with many sessions whose clients take nothing leaves half of it to others', () => {
    const { port, open } = setUp()
    const sessions = Array.from({ length: 8 }, (_, at) => open(at + 10, 'alice'))
    holdUp(port, sessions, 100)
    expect(heldBytes(port)).toBeLessThanOrEqual(1.5 * 1024 * 1024)
    const bob = new Source(open(9, 'bob'), 1_000_000)
    bob.onSendReady()
    for (let round = 0; round < 10; round++) bob.window.onMark()
    expect(port.sent.get(1_000_000)).toBeGreaterThan(1024 * 1024)
  })

  test('a stream whose client takes nothing holds one piece', () => {
    const { port, source } = setUp()
    source.onSendReady()
    source.window.onBlocked()
    expect(port.sent.get(0)).toBe(MAX_PIECE_BYTES)
  })

  test('a stranger who waits for others that take nothing gets their room, and they get only a piece again', () => {
    const { port, clock, open } = setUp()
    const hogs = Array.from({ length: 40 }, (_, at) => open(at + 10, null))
    const stuck = holdUp(port, hogs, 10)
    const visitor = new Source(open(9, null), 1_000_000)
    visitor.onSendReady()
    expect(port.sent.has(1_000_000)).toBe(false)
    for (let turn = 0; turn < 100 && !port.sent.has(1_000_000); turn++) clock.advance(250)
    expect(port.sent.get(1_000_000)).toBeGreaterThan(0)
    const relieved = hogs.filter(({ isPunished }) => isPunished)
    expect(relieved.length).toBeGreaterThan(0)
    expect(stuck.some((source) => source.stuck)).toBe(true)
    holdUp(port, relieved, 10, 2_000_000)
    for (const { bytes } of relieved) expect(bytes).toBeLessThanOrEqual(MAX_PIECE_BYTES)
  })

  test('a session moves to the room of users when somebody authenticates', () => {
    const { port, windows } = setUp()
    let user: string | undefined
    const share = windows.openSession(new Wire(1, port), { address: '192.0.2.1', userOf: () => user })
    const stream = new Source(share, 4)
    stream.onSendReady()
    expect(windows.strangerRoom.bytes).toBe(MAX_PIECE_BYTES)
    user = 'alice'
    stream.window.onMark()
    expect(windows.strangerRoom.bytes).toBe(0)
    expect(windows.userRoom.bytes).toBeGreaterThan(MAX_PIECE_BYTES)
    stream.window.close()
    share.close()
    expect(windows.userRoom.bytes).toBe(0)
  })
})
