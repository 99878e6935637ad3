/** Datagrams through one `_udp2` stream to an echo: each answer sends the next one. */
import { encodeAddressing, encodeUdpUplink, UdpDownlinkDecoder } from '../../src/wire/udp-frame.ts'
import { Progress, type StartJob } from './load-job.ts'
import { openClient, openTunnel } from './tunnel-client.ts'

/** This many sources, so that no socket buffer of a flow overflows. */
const FLOWS = 8
const FIRST_SOURCE_PORT = 40_000
/** A datagram may be lost: when nothing has come for this time, all are sent again. */
const STALL_MS = 200

export const startUdp: StartJob<'udp'> = async (job, access) => {
  const client = await openClient('h2', access)
  const progress = new Progress()
  const payload = Buffer.alloc(job.payloadBytes, 'culvert')
  const frames = Array.from({ length: FLOWS }, (_, index) =>
    encodeUdpUplink(
      encodeAddressing({ address: '127.0.0.1', port: FIRST_SOURCE_PORT + index }, job.target),
      payload,
      'bench',
    ),
  )
  const frameOf = (port: number): Buffer => frames[port - FIRST_SOURCE_PORT] ?? payload
  let answers: Buffer[] = []
  const decoder = new UdpDownlinkDecoder(({ destination, payload: echoed }) => {
    if (echoed.length !== job.payloadBytes) progress.fail(new Error(`echo of ${echoed.length} bytes`))
    answers.push(frameOf(destination.port))
  })
  let lastEcho = performance.now()
  const tunnel = await openTunnel(client, '_udp2', {
    onData: (chunk) => {
      decoder.push(chunk)
      if (answers.length === 0) return
      progress.add(answers.length)
      lastEcho = performance.now()
      tunnel.write(Buffer.concat(answers))
      answers = []
    },
    onClose: (error) => progress.fail(error),
  })
  const sendAll = (): void => {
    const burst = Array.from({ length: job.inFlight }, (_, index) => frames[index % FLOWS] ?? payload)
    tunnel.write(Buffer.concat(burst))
  }
  sendAll()
  const watch = setInterval(() => {
    if (performance.now() - lastEcho > STALL_MS) sendAll()
  }, STALL_MS)
  return {
    count: () => progress.count(),
    stop: () => {
      clearInterval(watch)
      client.destroy()
    },
  }
}
