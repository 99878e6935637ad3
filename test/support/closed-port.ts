/**
 * A port at which nobody listens, and nobody will: the system gives ports of another range to whoever asks for any.
 * A port that a test has just closed may be given to a socket of another test, or of the endpoint.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'

const HOST = '127.0.0.1'
const LOWEST = 10_000
const RANGE_FILE = '/proc/sys/net/ipv4/ip_local_port_range'
let asked = 0

/** Free for TCP and UDP on 127.0.0.1; another one at each call. */
export async function findClosedPort(): Promise<number> {
  const [firstGiven = 32_768] = readFileSync(RANGE_FILE, 'utf8').trim().split(/\s+/).map(Number)
  for (;;) {
    // Test files run in processes of their own, at the same time.
    const port = LOWEST + ((process.pid * 97 + asked++) % (firstGiven - LOWEST))
    if ((await isFreeForTcp(port)) && (await isFreeForUdp(port))) return port
  }
}

async function isFreeForTcp(port: number): Promise<boolean> {
  const server = createServer()
  server.listen(port, HOST)
  return succeeds(server)
}

async function isFreeForUdp(port: number): Promise<boolean> {
  const socket = createSocket('udp4')
  socket.bind(port, HOST)
  return succeeds(socket)
}

async function succeeds(socket: NodeJS.EventEmitter & { close(): unknown }): Promise<boolean> {
  try {
    await once(socket, 'listening')
  } catch {
    return false
  }
  socket.close()
  await once(socket, 'close')
  return true
}
