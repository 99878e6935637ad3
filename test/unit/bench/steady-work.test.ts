import { describe, expect, it } from 'vitest'
import { measureRate } from '../../bench/steady-work.ts'

/** Gives its values one after another, and the last one from then on. */
function reading(...values: number[]): () => Promise<number> {
  let next = 0
  return async () => values[Math.min(next++, values.length - 1)] ?? NaN
}

describe('a rate of steady work', () => {
  const endpoint = { cpuSeconds: reading(10, 10.5) }
  const load = [{ cpuSeconds: reading(1, 1.25) }, { cpuSeconds: reading(2, 2.75) }]
  const work = { endpoint, load, warmUpMs: 1, seconds: 0.02 }

  it('has the cost of each thing done between two moments, and who was busy', async () => {
    const rate = await measureRate({ ...work, count: reading(1000, 3000) })
    const seconds = 2000 / rate.perSecond
    expect(seconds).toBeGreaterThan(0)
    expect(rate.cpuEach).toBeCloseTo(0.5 / 2000)
    expect(rate.busy.endpoint).toBeCloseTo(0.5 / seconds)
    expect(rate.busy.load).toBeCloseTo(1 / seconds)
    expect(rate.toMs).toBeGreaterThanOrEqual(rate.fromMs)
  })

  it('lasts until an amount is done when it is told one', async () => {
    const counts = [0, 0, 50, 99, 100, 100]
    let looks = 0
    const count = async () => counts[looks++] ?? NaN
    const { perSecond, cpuEach } = await measureRate({ ...work, amount: 100, count })
    expect(perSecond).toBeGreaterThan(0)
    expect(cpuEach).not.toBeNaN()
    expect(looks).toBe(counts.length)
  })

  it('is not known when nothing was done', async () => {
    await expect(measureRate({ ...work, count: reading(7) })).rejects.toThrow('nothing was done')
  })

  it('looks at other things at its two moments', async () => {
    const moments: string[] = []
    const take = (name: string) => async () => void moments.push(name)
    await measureRate(
      {
        ...work,
        count: async () => {
          moments.push('count')
          return moments.length
        },
      },
      { onBegin: take('begin'), onEnd: take('end') },
    )
    expect(moments).toEqual(['begin', 'count', 'count', 'end'])
  })
})
