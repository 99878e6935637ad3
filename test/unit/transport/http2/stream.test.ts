import { describe, expect, it } from 'vitest'
import { TURN_BYTES } from '../../../../src/transport/http2/output.ts'
import { ErrorCode } from '../../../../src/wire/http2/protocol.ts'
import { NotingReceiver, STREAM_WINDOW, StreamStage } from './stream-stage.ts'

const pattern = (bytes: number): Buffer =>
  Buffer.from(Array.from({ length: bytes }, (_, index) => index % 251))

describe('Http2Stream, receiving', () => {
  it('what came before the receiver is delivered when it starts, the end included', () => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stage.receive(stream, 3)
    stage.receive(stream, 4)
    stream.onRemoteEnd()
    stream.start(receiver)
    expect(receiver.calls).toEqual(['data 3', 'data 4', 'end'])
  })

  it('a small piece that waits for a receiver does not keep the record that it came in', () => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stage.streams.takeReceiveWindow(1)
    stream.onData(Buffer.alloc(16_384), 9, 10)
    const memory: number[] = []
    receiver.onData = (chunk) => void memory.push(chunk.buffer.byteLength)
    stream.start(receiver)
    expect(memory).toEqual([1])
  })

  it('a receiver that resets the stream while it starts hears nothing more', () => {
    const stage = new StreamStage()
    const { stream, receiver, ends } = stage.open(1)
    stage.receive(stream, 3)
    stage.receive(stream, 4)
    stream.onRemoteEnd()
    receiver.onData = () => {
      receiver.calls.push('data')
      stream.reset('cancel')
    }
    stream.start(receiver)
    expect(receiver.calls).toEqual(['data'])
    expect(ends).toEqual(['reset'])
    expect(stage.uploads.heldBytes).toBe(0)
  })

  it('a window is given back once a quarter of it has been taken', () => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    stage.receive(stream, 40_000)
    stream.credit(STREAM_WINDOW / 4 - 1)
    expect(stage.sent()).toEqual([])
    expect(stream.receiveWindow).toBe(STREAM_WINDOW - 40_000)
    stream.credit(1)
    expect(stage.sent()).toEqual(['WINDOW_UPDATE 1'])
    expect(stream.receiveWindow).toBe(STREAM_WINDOW - 40_000 + STREAM_WINDOW / 4)
  })

  it('a stream that keeps its window credits the connection alone', () => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    stream.keepsWindow = true
    stage.receive(stream, 100_000)
    stream.credit(100_000)
    expect(stage.uploads.heldBytes).toBe(0)
    expect(stream.receiveWindow).toBe(STREAM_WINDOW - 100_000)
    expect(stage.sent()).toEqual([])
  })

  it('credit that comes after both ends is for the connection alone', () => {
    const stage = new StreamStage()
    const { stream, receiver, ends } = stage.open(1)
    stream.start(receiver)
    stage.receive(stream, 100_000)
    stream.onRemoteEnd()
    stream.end()
    expect(ends).toEqual(['ended'])
    expect(stage.sent()).toEqual(['DATA 1 x0 end'])
    expect(stage.uploads.heldBytes).toBe(100_000)
    stream.credit(60_000)
    expect(stage.uploads.heldBytes).toBe(40_000)
    stream.credit(40_000)
    expect(stage.uploads.heldBytes).toBe(0)
    expect(stage.sent()).toEqual([])
  })

  it('more credit than was received counts for nothing', () => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    stage.receive(stream, 10)
    stream.onRemoteEnd()
    stream.end()
    stream.credit(10_000)
    stream.credit(10_000)
    expect(stage.uploads.heldBytes).toBe(0)
  })

  // After a cancel it counted as held until the end of the session.
  it.each(['reset', 'cancel'] as const)('a %s after both ends gives up what was not taken', (act) => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    stage.receive(stream, 100_000)
    stream.onRemoteEnd()
    stream.end()
    if (act === 'reset') stream.reset('cancel')
    else stream.cancel()
    expect(stage.uploads.heldBytes).toBe(0)
    stream.credit(100_000)
    expect(stage.uploads.heldBytes).toBe(0)
    expect(stage.sent()).toEqual(['DATA 1 x0 end'])
  })

  it('what is discarded is credited at once, what came before included', () => {
    const stage = new StreamStage()
    const { stream } = stage.open(1)
    stage.receive(stream, 50_000)
    stream.discard()
    expect(stage.uploads.heldBytes).toBe(0)
    stage.receive(stream, 50_000)
    expect(stage.uploads.heldBytes).toBe(0)
    expect(stage.sent()).toEqual(['WINDOW_UPDATE 1', 'WINDOW_UPDATE 1'])
  })

  it('padding is credited at once', () => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    stage.streams.takeReceiveWindow(40_000)
    stream.receiveWindow -= 40_000
    stream.onPadding(40_000)
    expect(stage.uploads.heldBytes).toBe(0)
    expect(stream.receiveWindow).toBe(STREAM_WINDOW)
    expect(receiver.calls).toEqual([])
  })

  it('DATA that is still arriving when its stream closes is held by nobody', () => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    stage.streams.takeReceiveWindow(100)
    stream.onData(Buffer.alloc(60), 0, 60)
    stream.onLost('reset')
    stream.onData(Buffer.alloc(30), 0, 30)
    stream.onPadding(10)
    expect(receiver.calls).toEqual(['data 60', 'reset'])
    expect(stage.uploads.heldBytes).toBe(0)
  })
})

describe('Http2Stream, sending', () => {
  it('DATA goes as far as the window of the stream, and on as that grows', () => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    stream.sendWindow = 10
    const content = pattern(100)
    expect(stream.write(Buffer.from(content), 0, 100)).toBe(false)
    expect(stream.unsentBytes).toBe(90)
    expect(stage.sent()).toEqual(['DATA 1 x10'])
    expect(stream.growSendWindow(50)).toBe(true)
    expect(stage.sent()).toEqual(['DATA 1 x50'])
    expect(receiver.calls).toEqual([])
    stream.growSendWindow(60)
    expect(stage.sent()).toEqual(['DATA 1 x40'])
    expect(receiver.calls).toEqual(['room'])
    expect(stream.sendWindow).toBe(20)
    expect(stage.contentOf(1)).toEqual(content)
  })

  it('DATA goes as far as the window of the connection, and on as that grows', () => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    stage.streams.sendWindow = 10
    expect(stream.write(pattern(100), 0, 100)).toBe(false)
    expect(stage.sent()).toEqual(['DATA 1 x10'])
    stage.grow(30)
    stage.grow(60)
    expect(stage.sent()).toEqual(['DATA 1 x30', 'DATA 1 x60'])
    expect(receiver.calls).toEqual(['room'])
    expect(stage.streams.sendWindow).toBe(0)
    expect(stage.contentOf(1)).toEqual(pattern(100))
  })

  it('a write that was held belongs to its writer again', () => {
    const stage = new StreamStage()
    const { stream } = stage.open(1)
    stream.sendWindow = 1
    const content = pattern(50)
    stream.write(content, 0, 50)
    stream.write(content, 0, 50)
    content.fill(0xcc)
    stream.growSendWindow(1000)
    expect(stage.contentOf(1)).toEqual(Buffer.concat([pattern(50), pattern(50)]))
  })

  it('the end comes after what is held', () => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    stream.sendWindow = 10
    stream.write(pattern(100), 0, 100)
    stream.end()
    expect(stream.write(pattern(100), 0, 100)).toBe(true)
    expect(receiver.calls).toEqual([])
    stream.growSendWindow(90)
    expect(stage.sent()).toEqual(['DATA 1 x10', 'DATA 1 x90 end'])
    expect(receiver.calls).toEqual(['flushed'])
  })

  it('an end without window leaves at once', () => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    stream.sendWindow = 0
    stream.end()
    expect(stage.sent()).toEqual(['DATA 1 x0 end'])
    expect(receiver.calls).toEqual(['flushed'])
  })

  it('a window below zero lets nothing through', () => {
    const stage = new StreamStage()
    const { stream } = stage.open(1)
    stage.streams.setInitialSendWindow(0)
    stream.sendWindow = -100
    expect(stream.write(pattern(10), 0, 10)).toBe(false)
    stream.growSendWindow(100)
    expect(stage.sent()).toEqual([])
    stream.growSendWindow(4)
    expect(stage.sent()).toEqual(['DATA 1 x4'])
  })

  it('a write while output is full waits for its turn, unless it is small', () => {
    const stage = new StreamStage()
    const [first, second] = [stage.open(1), stage.open(3)]
    first.stream.start(first.receiver)
    second.stream.start(second.receiver)
    expect(first.stream.write(pattern(20_000), 0, 20_000)).toBe(false)
    expect(second.stream.write(pattern(16_385), 0, 16_385)).toBe(false)
    expect(second.stream.unsentBytes).toBe(16_385)
    const { stream: third } = stage.open(5)
    expect(third.write(pattern(100), 0, 100)).toBe(false)
    expect(third.unsentBytes).toBe(0)
    stage.drain()
    expect(first.receiver.calls).toEqual(['room'])
    expect(second.receiver.calls).toEqual(['room'])
    expect(second.stream.unsentBytes).toBe(0)
  })
})

describe('Http2Stream, turns', () => {
  // With eight downloads two reads of three found the block full, and were kept in memory of their own.
  it('streams that are read in their turns share the output, and none of them keeps anything', () => {
    const stage = new StreamStage()
    stage.streams.sendWindow = 2 ** 30
    stage.streams.setInitialSendWindow(2 ** 30)
    const read = pattern(TURN_BYTES)
    const downloads = [1, 3, 5, 7, 9, 11, 13, 15].map((id) => ({ ...stage.open(id), id, reads: 0, heard: 0 }))
    for (const { stream, receiver } of downloads) stream.start(receiver)
    let kept = 0
    for (let round = 0; round < 40; round++) {
      for (const download of downloads) {
        const { stream, receiver } = download
        // A target's socket is read until its stream says no, and then from its word on.
        for (let goesOn = round === 0 || receiver.calls.length > download.heard; goesOn;) {
          download.heard = receiver.calls.length
          download.reads++
          goesOn = stream.write(read, 0, read.length)
        }
      }
      if (round > 4) kept += stage.downloads.heldBytes
      stage.output.flush()
      if (stage.socket.isWriting) stage.socket.confirm()
    }
    expect(kept).toBe(0)
    const counts = downloads.map(({ reads }) => reads)
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
    expect(Math.min(...counts)).toBeGreaterThan(10)
  })

  it('a stream that is alone fills a block in one turn', () => {
    const stage = new StreamStage()
    stage.streams.sendWindow = 2 ** 30
    stage.streams.setInitialSendWindow(2 ** 30)
    const { stream, receiver } = stage.open(1)
    stream.start(receiver)
    const read = pattern(TURN_BYTES)
    stream.write(read, 0, read.length)
    stage.drain()
    let reads = 1
    while (stream.write(read, 0, read.length)) reads++
    expect(reads).toBe(4)
    expect(stream.unsentBytes).toBe(0)
  })
})

describe('Http2Stream, datagrams', () => {
  it('a write of up to a frame leaves as one frame', () => {
    const stage = new StreamStage()
    const { stream } = stage.open(1)
    stream.keepsWrites = true
    stage.output.frameBytes = 8192
    stream.write(pattern(9000), 0, 9000)
    stream.write(pattern(16_384), 0, 16_384)
    expect(stage.sent()).toEqual(['DATA 1 x9000', 'DATA 1 x16384'])
  })

  it('a write waits for a window of the stream that takes the whole', () => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stream.keepsWrites = true
    stream.start(receiver)
    stream.sendWindow = 999
    expect(stream.write(pattern(1000), 0, 1000)).toBe(false)
    expect(stage.sent()).toEqual([])
    stream.growSendWindow(1)
    expect(stage.sent()).toEqual(['DATA 1 x1000'])
    expect(receiver.calls).toEqual(['room'])
  })

  // It was not noted as waiting while anything was left of the connection's window, and stood still for ever.
  it('a write waits for a window of the connection that takes the whole', () => {
    const stage = new StreamStage()
    const { stream, receiver } = stage.open(1)
    stream.keepsWrites = true
    stream.start(receiver)
    stage.streams.sendWindow = 999
    expect(stream.write(pattern(1000), 0, 1000)).toBe(false)
    expect(stage.sent()).toEqual([])
    stage.grow(0)
    stage.grow(1)
    expect(stage.sent()).toEqual(['DATA 1 x1000'])
    expect(receiver.calls).toEqual(['room'])
  })

  it('a write leaves in pieces when the client has no window for the whole', () => {
    const stage = new StreamStage()
    stage.streams.setInitialSendWindow(600)
    const { stream } = stage.open(1)
    stream.keepsWrites = true
    expect(stream.write(pattern(1000), 0, 1000)).toBe(false)
    stream.growSendWindow(600)
    expect(stage.sent()).toEqual(['DATA 1 x600', 'DATA 1 x400'])
  })
})

const MOMENTS = [
  'new',
  'with early data',
  'started',
  'with data',
  'holding',
  'waiting for room',
  'after its own end',
  'after our end',
] as const

describe('Http2Stream, its end', () => {
  it.each(MOMENTS)('a reset gives everything back and tells the owner once: %s', (moment) => {
    for (const how of ['reset', 'cancel', 'lost', 'left'] as const) {
      const stage = new StreamStage()
      const { stream, receiver, ends } = stage.open(1)
      if (moment === 'with early data') stage.receive(stream, 100)
      else if (moment !== 'new') stream.start(receiver)
      if (moment === 'with data') stage.receive(stream, 100)
      if (moment === 'holding') stream.sendWindow = 10
      if (moment === 'holding' || moment === 'waiting for room') stream.write(pattern(20_000), 0, 20_000)
      if (moment === 'after its own end') stream.onRemoteEnd()
      if (moment === 'after our end') stream.end()
      if (how === 'reset') stream.reset('cancel')
      else if (how === 'cancel') stream.cancel()
      else stream.onLost(how === 'left' ? 'left' : 'reset')
      const told = receiver.calls.length
      stream.credit(100)
      expect(ends).toHaveLength(1)
      expect(stage.streams.size).toBe(0)
      expect(stage.lastClosed).toBe(1)
      expect(stage.uploads.heldBytes).toBe(0)
      // Nothing of it comes afterwards.
      stream.reset('cancel')
      stream.cancel()
      stream.onLost('reset')
      stream.onRemoteEnd()
      stream.end()
      expect(stream.write(pattern(10), 0, 10)).toBe(true)
      stream.growSendWindow(1000)
      stage.grow(1000)
      stage.drain()
      expect(ends).toHaveLength(1)
      expect(receiver.calls).toHaveLength(told)
      expect(stage.sent().filter((sent) => sent.startsWith('RST')).length).toBe(
        how === 'reset' || how === 'cancel' ? 1 : 0,
      )
    }
  })

  it('whoever resets the stream hears nothing more of it', () => {
    const stage = new StreamStage()
    const { stream, receiver, ends } = stage.open(1)
    stream.start(receiver)
    stream.resetWith(ErrorCode.NO_ERROR, 'left')
    expect(receiver.calls).toEqual([])
    expect(ends).toEqual(['left'])
  })

  it('a client that leaves in order has ended first', () => {
    const stage = new StreamStage()
    const { stream, receiver, ends } = stage.open(1)
    stream.start(receiver)
    stage.receive(stream, 5)
    stream.onLost('left')
    expect(receiver.calls).toEqual(['data 5', 'end', 'left'])
    expect(ends).toEqual(['left'])
    expect(stage.uploads.heldBytes).toBe(5)
    stream.credit(5)
    expect(stage.uploads.heldBytes).toBe(0)
  })

  it('a client that leaves in order after our end has ended, and nothing more is told', () => {
    const stage = new StreamStage()
    const { stream, receiver, ends } = stage.open(1)
    stream.start(receiver)
    stream.end()
    stream.onLost('left')
    expect(receiver.calls).toEqual(['flushed', 'end'])
    expect(ends).toEqual(['ended'])
  })

  // Whoever asks for a stream only after the client has reset it would wait for it for ever.
  it('a receiver that starts after the stream was lost is told so', () => {
    const stage = new StreamStage()
    const { stream, ends } = stage.open(1)
    stage.receive(stream, 100)
    stream.onLost('reset')
    const receiver = new NotingReceiver()
    stream.start(receiver)
    expect(receiver.calls).toEqual(['reset'])
    expect(ends).toEqual(['reset'])
  })

  it('it is settled once our side has ended or waits for the client', () => {
    for (const act of ['end', 'hold', 'lose'] as const) {
      const stage = new StreamStage()
      const { stream } = stage.open(1)
      let told = 0
      stream.onSettled = () => void told++
      expect(stream.isSettled).toBe(false)
      if (act === 'hold') stream.sendWindow = 0
      if (act === 'end') stream.end()
      else if (act === 'hold') stream.write(pattern(5), 0, 5)
      else stream.onLost('reset')
      expect(stream.isSettled).toBe(true)
      stream.onLost('reset')
      expect(told).toBe(1)
    }
  })
})
