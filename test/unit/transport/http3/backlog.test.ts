/**
 * QUIC accepts much more than it sends: what a session has unsent is bounded, but a session is never stuck because of
 * it.
 */
import { describe, expect, test } from 'vitest'
import {
  Backlogs,
  MAX_BACKLOG_BYTES,
  MIN_BACKLOG_BYTES,
  TOTAL_BACKLOG_BYTES,
} from '../../../../src/transport/http3/backlog.ts'
import type { Backlog } from '../../../../src/transport/http3/backlog.ts'
import { Wire } from '../../../../src/transport/http3/wire.ts'
import type { WirePort, WireSample } from '../../../../src/transport/http3/wire.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

const PIECE_BYTES = 16_384

class Port implements WirePort {
  readonly sent = new Map<number, number>()
  readonly pings: number[] = []
  asked = 0

  sample(session: number): WireSample {
    this.asked++
    return { sentBytes: this.sent.get(session) ?? 0, rttMs: 1 }
  }

  ping(session: number): void {
    this.pings.push(session)
  }
}

class Stage {
  readonly port = new Port()
  readonly clock = new FakeClock()
  readonly #backlogs = new Backlogs(this.clock)
  told = 0

  open(session = 1): Backlog {
    return this.#backlogs.open(this.wire(session), () => this.told++)
  }

  readonly wires = new Map<number, Wire>()

  wire(session: number): Wire {
    const wire = this.wires.get(session) ?? new Wire(session, this.port)
    this.wires.set(session, wire)
    return wire
  }
}

/** Hands over as much as is taken; returns how much that was. */
function fill(backlog: Backlog): number {
  let bytes = 0
  for (; backlog.askForRoom(PIECE_BYTES); bytes += PIECE_BYTES) backlog.add(PIECE_BYTES)
  return bytes
}

describe('a backlog', () => {
  test('a backlog ends at its allowance while nothing is sent', () => {
    expect(fill(new Stage().open())).toBe(MAX_BACKLOG_BYTES)
  })

  test('a backlog is not asked about while little is handed over', () => {
    const stage = new Stage()
    const backlog = stage.open()
    for (let bytes = 0; bytes < MAX_BACKLOG_BYTES / 4; bytes += PIECE_BYTES) {
      expect(backlog.askForRoom(PIECE_BYTES)).toBe(true)
      backlog.add(PIECE_BYTES)
    }
    expect(stage.port.asked).toBe(0)
  })

  test('a backlog tells of room when half of it has been sent', () => {
    const stage = new Stage()
    const { port, clock } = stage
    const backlog = stage.open()
    fill(backlog)
    port.sent.set(1, MAX_BACKLOG_BYTES / 4)
    clock.advance(2000)
    expect(stage.told).toBe(0)
    port.sent.set(1, MAX_BACKLOG_BYTES / 2)
    clock.advance(2000)
    expect(stage.told).toBe(1)
    expect(fill(backlog)).toBe(MAX_BACKLOG_BYTES / 2)
  })

  test('a backlog is asked about ever less often while nothing is sent', () => {
    const stage = new Stage()
    const { port, clock } = stage
    fill(stage.open())
    clock.advance(10_000)
    const before = port.asked
    clock.advance(60_000)
    expect(port.asked - before).toBeLessThanOrEqual(61)
  })

  test('a backlog is empty when the client answers a ping and nothing more is sent', () => {
    const stage = new Stage()
    const { port, clock } = stage
    // Its streams were reset: what they had handed over will never be sent.
    const backlog = stage.open()
    fill(backlog)
    clock.advance(1000)
    expect(port.pings).toEqual([1])
    port.sent.set(1, 40)
    stage.wire(1).onPing(stage.clock.now())
    backlog.onPing()
    expect(stage.told).toBe(1)
    expect(fill(backlog)).toBe(MAX_BACKLOG_BYTES)
  })

  test('a backlog is not empty when a ping is answered and more was sent', () => {
    const stage = new Stage()
    const { port, clock } = stage
    const backlog = stage.open()
    fill(backlog)
    clock.advance(1000)
    port.sent.set(1, 100_000)
    stage.wire(1).onPing(stage.clock.now())
    backlog.onPing()
    expect(stage.told).toBe(0)
  })

  test('a backlog leaves less to others when many sessions have one, but always something', () => {
    const stage = new Stage()
    const sizes = Array.from({ length: 100 }, (_, session) => {
      const size = fill(stage.open(session))
      stage.clock.advance(100)
      return size
    })
    expect(sizes[0]).toBe(MAX_BACKLOG_BYTES)
    expect(sizes.at(-1)).toBe(MIN_BACKLOG_BYTES)
    const total = sizes.reduce((sum, bytes) => sum + bytes)
    expect(total).toBeLessThan(TOTAL_BACKLOG_BYTES + 100 * MIN_BACKLOG_BYTES + MAX_BACKLOG_BYTES)
  })

  test('a backlog leaves no timer when its session ends', () => {
    const stage = new Stage()
    const { clock } = stage
    const backlog = stage.open()
    fill(backlog)
    expect(clock.pending).toBe(1)
    backlog.close()
    clock.advance(100)
    expect(clock.pending).toBe(0)
  })
})
