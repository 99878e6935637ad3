import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { VisitorPace } from '../../../../src/transport/http2/visitor-pace.ts'
import { StreamStage } from './stream-stage.ts'

class Stage extends StreamStage {
  readonly calls: string[] = []
  readonly pace = new VisitorPace(this.clock, {
    pause: () => void this.calls.push('pause'),
    resume: () => void this.calls.push('resume'),
  })
}

describe('VisitorPace', () => {
  it('reading waits until the answer is out, and what belongs to it', async () => {
    const stage = new Stage()
    const { stream } = stage.open(1)
    stage.pace.onRequest(stream)
    await turn()
    expect(stage.calls).toEqual(['pause'])
    stream.end()
    expect(stage.calls).toEqual(['pause'])
    await turn()
    expect(stage.calls).toEqual(['pause', 'resume'])
    expect(stage.clock.pending).toBe(0)
  })

  it('reading goes on when the answer waits for the client', async () => {
    const stage = new Stage()
    const { stream } = stage.open(1)
    stage.pace.onRequest(stream)
    stream.sendWindow = 0
    stream.write(Buffer.alloc(5), 0, 5)
    await turn()
    expect(stage.calls).toEqual(['pause', 'resume'])
  })

  it('reading does not wait for an answer that is out', () => {
    const stage = new Stage()
    const { stream } = stage.open(1)
    stream.end()
    stage.pace.onRequest(stream)
    expect(stage.calls).toEqual([])
  })

  it('an answer that takes longer is not waited for, and none after it', async () => {
    const stage = new Stage()
    const { stream } = stage.open(1)
    stage.pace.onRequest(stream)
    stage.clock.advance(199)
    expect(stage.calls).toEqual(['pause'])
    stage.clock.advance(1)
    expect(stage.calls).toEqual(['pause', 'resume'])
    stage.pace.onRequest(stage.open(3).stream)
    stream.end()
    await turn()
    expect(stage.calls.filter((call) => call === 'pause')).toHaveLength(1)
    expect(stage.clock.pending).toBe(0)
  })

  it('each answer is waited for', async () => {
    const stage = new Stage()
    for (const id of [1, 3, 5]) {
      const { stream } = stage.open(id)
      stage.pace.onRequest(stream)
      stream.end()
      await turn()
    }
    expect(stage.calls).toEqual(['pause', 'resume', 'pause', 'resume', 'pause', 'resume'])
  })

  it('the end of the session ends the waiting', () => {
    const stage = new Stage()
    stage.pace.onRequest(stage.open(1).stream)
    stage.pace.end()
    expect(stage.calls).toEqual(['pause', 'resume'])
    expect(stage.clock.pending).toBe(0)
  })
})
