/** A reset takes back what the client has not received yet, so it waits until nothing can be lost; but not for long. */
import { describe, expect, test } from 'vitest'
import { Backlogs } from '../../../../src/transport/http3/backlog.ts'
import { Endings } from '../../../../src/transport/http3/ending.ts'
import type { SessionEndings } from '../../../../src/transport/http3/ending.ts'
import { SendWindow } from '../../../../src/transport/http3/send-window.ts'
import type { WindowHub, WindowShare } from '../../../../src/transport/http3/send-window.ts'
import { Wire } from '../../../../src/transport/http3/wire.ts'
import type { WireSample } from '../../../../src/transport/http3/wire.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

const PING_BYTES = 40

/** One session on a path with a round trip of 10 ms. */
class Stage {
  readonly clock = new FakeClock()
  readonly released: number[] = []
  readonly marked: SendWindow[] = []
  rttMs = 10
  /** How long a ping takes on a machine that is busy; else a round trip. */
  answerMs: number | undefined
  sentBytes = 20_000
  /** Whether the client answers. */
  connected = true
  readonly wire: Wire = new Wire(1, {
    sample: (): WireSample => ({ sentBytes: this.sentBytes, rttMs: this.rttMs }),
    ping: () => {
      this.sentBytes += PING_BYTES
      this.clock.after(
        this.answerMs ?? this.rttMs,
        () => this.connected && this.wire.onPing(this.clock.now()),
      )
    },
  })
  readonly #hub: WindowHub = {
    clock: this.clock,
    port: { send: () => true, mark: () => true, pendingBytes: () => 0 },
    addBlocked() {},
    removeBlocked() {},
    addRefused() {},
    onAdmitted() {},
    addUnmarked() {},
    removeUnmarked() {},
    remove() {},
  }
  readonly #share: WindowShare = { askForRoom: () => true, take() {}, release() {}, remove() {} }
  readonly endings: SessionEndings

  constructor() {
    const backlog = new Backlogs(this.clock).open(this.wire, () => {})
    this.endings = new Endings(this.clock).open(this.wire, backlog, (id) => this.released.push(id))
  }

  /** Ends a stream; its mark comes back at once unless `taken` is false. */
  end(stream: number, { contentBytes = 0, taken = true } = {}): SendWindow {
    const window = new SendWindow(this.#hub, this.#share, 1, stream, {
      onSendReady() {},
      onSendStuck() {},
    })
    this.endings.end(stream, window, contentBytes)
    if (taken) window.onMark()
    return window
  }

  /** Sends something and lets both sides of the stream end. */
  finish(stream: number): SendWindow {
    const window = new SendWindow(this.#hub, this.#share, 1, stream, {
      onSendReady() {},
      onSendStuck() {},
    })
    window.send(Buffer.alloc(1000), true)
    this.endings.finish(stream, window)
    return window
  }
}

describe('a stream that we have ended', () => {
  test('a stream that we have ended is released within 100 ms on a short path', () => {
    const stage = new Stage()
    stage.rttMs = 1
    stage.end(0)
    stage.clock.advance(100)
    expect(stage.released).toEqual([0])
  })

  test('a stream that we have ended is not released before three round trips', () => {
    const stage = new Stage()
    stage.rttMs = 100
    stage.end(0)
    stage.clock.advance(300)
    expect(stage.released).toEqual([])
    stage.clock.advance(700)
    expect(stage.released).toEqual([0])
  })

  test('a stream that we have ended waits while QUIC has not taken all of it', () => {
    const stage = new Stage()
    const window = stage.end(0, { taken: false })
    stage.clock.advance(10_000)
    expect(stage.released).toEqual([])
    window.onMark()
    stage.clock.advance(200)
    expect(stage.released).toEqual([0])
  })

  test('a stream that we have ended waits while the client answers nothing', () => {
    const stage = new Stage()
    stage.connected = false
    stage.end(0, { contentBytes: 1000 })
    stage.clock.advance(20_000)
    expect(stage.released).toEqual([])
  })

  test('a stream that we have ended waits while something is sent again', () => {
    const stage = new Stage()
    stage.end(0)
    stage.clock.advance(15)
    stage.sentBytes += 150
    stage.clock.advance(70)
    expect(stage.released).toEqual([])
    stage.clock.advance(200)
    expect(stage.released).toEqual([0])
  })

  test('a stream that we have ended waits for what a late answer shows to be lost', () => {
    const stage = new Stage()
    stage.rttMs = 1
    stage.answerMs = 32
    stage.end(0)
    // The answer has just come, and nothing has been sent again yet.
    stage.clock.advance(55)
    expect(stage.released).toEqual([])
    stage.sentBytes += 150
    stage.clock.advance(30)
    expect(stage.released).toEqual([])
    stage.clock.advance(100)
    expect(stage.released).toEqual([0])
  })

  test('a stream that we have ended waits on a busy session until what was ahead of it may be out', () => {
    const stage = new Stage()
    const busy = stage.clock.every(1, () => (stage.sentBytes += 2000))
    stage.end(0, { contentBytes: 1_000_000 })
    stage.clock.advance(900)
    expect(stage.released).toEqual([])
    stage.clock.advance(500)
    expect(stage.released).toEqual([0])
    busy.cancel()
  })

  test('a stream that we have ended is released in the end whatever happens', () => {
    const stage = new Stage()
    stage.connected = false
    stage.end(0)
    stage.end(4, { contentBytes: 1, taken: false })
    stage.clock.advance(31_000)
    expect(stage.released).toEqual([0])
    stage.clock.advance(300_000)
    expect(stage.released).toEqual([0, 4])
    expect(stage.clock.pending).toBe(0)
  })

  test('a stream that we have ended is forgotten when the client ends its side', () => {
    const stage = new Stage()
    stage.end(0)
    stage.endings.forget(0)
    stage.clock.advance(1000)
    expect(stage.released).toEqual([])
    expect(stage.clock.pending).toBe(0)
  })

  test('a stream that we have ended shares its questions with all others', () => {
    const stage = new Stage()
    for (let stream = 0; stream < 400; stream += 4) stage.end(stream)
    stage.clock.advance(200)
    expect(stage.released).toHaveLength(100)
    expect(stage.sentBytes - 20_000).toBeLessThanOrEqual(3 * PING_BYTES)
  })
})

describe('a session that waits until its client has everything', () => {
  test('a session waits for streams that both sides have ended', () => {
    const stage = new Stage()
    let delivered = false
    const window = stage.finish(0)
    stage.endings.whenDelivered(() => (delivered = true))
    stage.clock.advance(10_000)
    expect(delivered).toBe(false)
    window.onMark()
    stage.clock.advance(300)
    expect(delivered).toBe(true)
    expect(stage.released).toEqual([])
    expect(stage.clock.pending).toBe(0)
  })

  test('a session waits for a stream whose other side ends meanwhile', () => {
    const stage = new Stage()
    let delivered = false
    const window = stage.end(0, { contentBytes: 1000, taken: false })
    stage.endings.whenDelivered(() => (delivered = true))
    stage.endings.onClientEnd(0)
    stage.clock.advance(10_000)
    expect(delivered).toBe(false)
    window.onMark()
    stage.clock.advance(300)
    expect(delivered).toBe(true)
    expect(stage.released).toEqual([])
  })

  test('a session waits while its client answers nothing', () => {
    const stage = new Stage()
    let delivered = false
    stage.connected = false
    stage.endings.whenDelivered(() => (delivered = true))
    stage.clock.advance(10_000)
    expect(delivered).toBe(false)
    stage.endings.close()
    stage.clock.advance(1000)
    expect(delivered).toBe(false)
    expect(stage.clock.pending).toBe(0)
  })

  test('a session with nothing on its way is done within 100 ms on a short path', () => {
    const stage = new Stage()
    let delivered = false
    stage.rttMs = 1
    stage.endings.whenDelivered(() => (delivered = true))
    stage.clock.advance(100)
    expect(delivered).toBe(true)
  })
})
