/** One row against one endpoint that is started for it: where the processes run, and with what. */
import type { Plan, Variant } from './arguments.ts'
import type { Cable } from './cable.ts'
import { EndpointProcess } from './endpoint-process.ts'
import { measureGate } from './measure-gate.ts'
import { measure, type Measured } from './measure.ts'
import { findLanePinning, findPinning, type Place } from './pinned-process.ts'
import type { EndpointWork, Row } from './plan.ts'

export interface RunOptions extends Pick<Plan, 'seconds' | 'bytes' | 'profileDirectory'> {
  /** For rows that want one. */
  readonly cable: Cable | undefined
}

interface Places {
  readonly endpoint: Place
  /** Where it listens. */
  readonly address: string
  readonly load: Place
  readonly targets: Place
}

export async function measureVariant(
  row: Row,
  variant: Variant,
  { seconds, bytes, profileDirectory, cable }: RunOptions,
): Promise<Measured & { readonly peakRssMib: number }> {
  const { work } = row
  const places = placesOf(row, cable)
  if (work.kind === 'gate') {
    if (!variant.isOwn) throw new Error('it is a part of culvert')
    const values = await measureGate({ server: places.endpoint, load: places.load }, { seconds })
    return { values, peakRssMib: NaN }
  }
  await using endpoint = await EndpointProcess.start({
    command: commandOf(row, variant),
    quic: usesQuic(work),
    place: places.endpoint,
    address: places.address,
    reportsHeap: work.kind === 'connect' && work.garbage === true,
    profileDirectory: variant.isOwn ? profileDirectory : undefined,
  })
  const measured = await measure(work, endpoint, { seconds, bytes, places })
  return { ...measured, peakRssMib: (await endpoint.peakRssKib()) / 1024 }
}

/** Ours would take all cores that it may run on; a peer is asked only where the row is about that. */
function commandOf({ lanes }: Row, { command, isOwn }: Variant): string {
  if (lanes === undefined && !isOwn) return command
  return `${command} --jobs ${lanes ?? 1}`
}

/** At rest an endpoint offers all that operators have it offer. */
function usesQuic(work: EndpointWork): boolean {
  switch (work.kind) {
    case 'rest':
      return true
    case 'udp':
      return false
    default:
      return work.protocol === 'h3'
  }
}

function placesOf({ lanes, cable: wantsCable }: Row, cable: Cable | undefined): Places {
  const pinning = lanes === undefined ? findPinning() : findLanePinning(LANE_CORES)
  const endpoint: Place = { cores: pinning?.endpoint }
  const load: Place = { cores: pinning?.load }
  if (wantsCable !== true) return { endpoint, address: '127.0.0.1', load, targets: load }
  if (cable === undefined) throw new Error('there is no cable')
  const { endpointNamespace, endpointAddress, loadNamespace } = cable
  return {
    endpoint: { ...endpoint, namespace: endpointNamespace },
    address: endpointAddress,
    load: { ...load, namespace: loadNamespace },
    targets: { ...load, namespace: endpointNamespace },
  }
}

/** Of all rows with lanes, so that one lane has the same cores as two. */
const LANE_CORES = 2
