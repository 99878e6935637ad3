/** Entry point of a load process: answers one request at a time from the bench over IPC, and ends with it. */
import type { Job, RunningJob } from './load-job.ts'
import { startConnects } from './load-connect.ts'
import { startIdle } from './load-idle.ts'
import { startPing } from './load-ping.ts'
import { startTransfer } from './load-transfer.ts'
import { startUdp } from './load-udp.ts'
import { serveRequests } from './pinned-process.ts'
import type { EndpointAccess } from './tunnel-client.ts'

export type LoadRequest =
  | { readonly do: 'start'; readonly job: Job; readonly access: EndpointAccess }
  | { readonly do: 'count' }
  | { readonly do: 'result' }
  | { readonly do: 'stop' }

let running: RunningJob | undefined

serveRequests(async (request: LoadRequest) => {
  switch (request.do) {
    case 'start':
      running = await start(request.job, request.access)
      return null
    case 'count':
      return running?.count() ?? 0
    case 'result':
      return running?.result?.() ?? null
    case 'stop':
      running?.stop()
      return null
  }
})

function start(job: Job, access: EndpointAccess): Promise<RunningJob> {
  switch (job.kind) {
    case 'transfer':
      return startTransfer(job, access)
    case 'connect':
      return startConnects(job, access)
    case 'idle':
      return startIdle(job, access)
    case 'udp':
      return startUdp(job, access)
    case 'ping':
      return startPing(job, access)
  }
}
