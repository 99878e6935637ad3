/**
 * The state machine of an HTTP/2 connection under random scripts of frames, in any pieces, and random behaviour of those
 * who answer; after each step a checker looks for windows that are overrun, bytes that are lost or invented, streams
 * that end twice, and in the end for what is left. Ten seconds; `CULVERT_FUZZ_SECONDS` asks for more. The seed of each
 * script is named when it fails, and `CULVERT_FUZZ_SEED` repeats from there.
 */
import { describe, expect, it } from 'vitest'
import { expectNothingLeftOpen } from '../support/leak-check.ts'
import { Random } from '../support/random.ts'
import { FuzzStage } from './http2/stage.ts'

const SECONDS = Number(process.env['CULVERT_FUZZ_SECONDS'] ?? 10)
const SEED = Number(process.env['CULVERT_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const MAX_STEPS = 600
/** Enough for even the slowest machine. */
const LEAST_SCRIPTS = 10

async function runScript(seed: number, hostile: boolean): Promise<void> {
  const random = new Random(seed)
  const stage = new FuzzStage(random)
  const name = `seed ${seed}, ${hostile ? 'hostile' : 'conformant'}`
  const steps = random.size(MAX_STEPS)
  for (let step = 0; step < steps; step++) {
    await stage.step(hostile)
    if (stage.faults.length > 0) expect(stage.faults, `${name}, step ${step}`).toEqual([])
  }
  if (!hostile && !random.oneIn(3)) {
    expect(await stage.finishInOrder(), `${name}, in order`).toEqual([])
    expect(stage.faults, `${name}, in order`).toEqual([])
  }
  expect(await stage.end(), `${name}, left in the end`).toEqual([])
  expect(stage.faults, `${name}, in the end`).toEqual([])
}

describe(`connections, seed ${SEED}`, () => {
  it.each(['conformant', 'hostile'])(
    'random scripts break no rule and leave nothing: %s clients',
    { timeout: SECONDS * 1000 + 120_000 },
    async (kind) => {
      const deadline = performance.now() + (SECONDS * 1000) / 2
      let count = 0
      for (; count < LEAST_SCRIPTS || performance.now() < deadline; count++)
        await runScript(SEED + count, kind === 'hostile')
      if (process.env['CULVERT_FUZZ_SECONDS']) console.log(`${count} scripts of ${kind} clients`)
    },
  )
})

expectNothingLeftOpen()
