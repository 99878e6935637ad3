import { describe, expect, it } from 'vitest'
import { IdleMonitor, type IdleWatch } from '../../../src/relay/idle-monitor.ts'
import { FakeClock } from '../../support/fake-clock.ts'

describe('IdleMonitor', () => {
  it('the idle monitor reports once, not before the limit and at most an eighth and a tick after it', () => {
    const clock = new FakeClock()
    const monitor = new IdleMonitor(clock, { tickMs: 10 })
    const reported: number[] = []
    let moved = 0
    monitor.watch(800, { activity: () => moved, onIdle: () => reported.push(clock.now()) })
    clock.advance(799)
    moved += 1
    clock.advance(799)
    expect(reported).toEqual([])
    clock.advance(2000)
    expect(reported).toHaveLength(1)
    expect(reported[0]).toBeGreaterThanOrEqual(799 + 800)
    expect(reported[0]).toBeLessThanOrEqual(799 + 800 + 100 + 10)
    expect(clock.pending).toBe(0)
  })

  it('the idle monitor keeps one timer for all, and none without any', () => {
    const clock = new FakeClock()
    const monitor = new IdleMonitor(clock)
    expect(clock.pending).toBe(0)
    const watches = Array.from({ length: 100 }, (_, index) =>
      monitor.watch(1000 + index, { activity: () => 0, onIdle: () => {} }),
    )
    expect(clock.pending).toBe(1)
    expect(monitor.size).toBe(100)
    for (const watch of watches) watch.cancel()
    watches[0]?.cancel()
    expect(monitor.size).toBe(0)
    expect(clock.pending).toBe(0)
  })

  it('the idle monitor does not report what was cancelled, also from within a report', () => {
    const clock = new FakeClock()
    const monitor = new IdleMonitor(clock)
    let reports = 0
    const watches: IdleWatch[] = []
    for (let index = 0; index < 2; index += 1) {
      const onIdle = (): void => {
        reports += 1
        for (const watch of watches) watch.cancel()
      }
      watches.push(monitor.watch(5000, { activity: () => 0, onIdle }))
    }
    clock.advance(20_000)
    expect(reports).toBe(1)
    expect(clock.pending).toBe(0)
  })

  it('the idle monitor starts again after it had nothing to watch', () => {
    const clock = new FakeClock()
    const monitor = new IdleMonitor(clock)
    let reports = 0
    for (let round = 1; round <= 2; round += 1) {
      monitor.watch(2000, { activity: () => 0, onIdle: () => (reports += 1) })
      clock.advance(4000)
      expect(reports).toBe(round)
      expect(clock.pending).toBe(0)
    }
  })
})
