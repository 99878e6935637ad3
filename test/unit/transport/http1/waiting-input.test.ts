import { describe, expect, it } from 'vitest'
import { WaitingInput } from '../../../../src/transport/http1/waiting-input.ts'

const KIB = 1024

describe('WaitingInput', () => {
  it('64 KiB are too much, in whole records', () => {
    const waiting = new WaitingInput()
    for (let left = 3; left > 0; left--) waiting.add(Buffer.alloc(16 * KIB))
    expect(waiting.isTooMuch).toBe(false)
    waiting.add(Buffer.alloc(16 * KIB))
    expect(waiting.isTooMuch).toBe(true)
  })

  it('bytes one by one are too much long before that', () => {
    const waiting = new WaitingInput()
    let pieces = 0
    for (; !waiting.isTooMuch; pieces++) waiting.add(Buffer.alloc(1))
    expect(pieces).toBeLessThanOrEqual(128)
    for (; pieces > 0; pieces--) expect(waiting.takeOldest()).toHaveLength(1)
    expect([waiting.isTooMuch, waiting.takeOldest()]).toEqual([false, undefined])
  })

  it('gives everything back in order', () => {
    const waiting = new WaitingInput()
    waiting.add(Buffer.from('first'))
    waiting.add(Buffer.from('second'))
    waiting.putBack(waiting.takeOldest()?.subarray(2) ?? Buffer.alloc(0))
    expect(Buffer.concat(waiting.takeAll()).toString()).toBe('rstsecond')
    expect(waiting.pieces).toEqual([])
  })
})
