/** `culvert config`: prints a complete sample of an official file. */
import { OFFICIAL_FILES } from '../config/official-files.ts'
import { renderSample } from '../config/docs/sample-file.ts'
import type { ConfigCommand } from './arguments.ts'
import { UsageError } from './terminal.ts'
import type { ExitCode, Terminal } from './terminal.ts'

export function runConfig({ file }: ConfigCommand, terminal: Terminal): ExitCode {
  const official = OFFICIAL_FILES.find(({ name }) => name === file || name === `${file}.toml`)
  if (official === undefined)
    throw new UsageError(
      `there is no file ${JSON.stringify(file)}; there are ${OFFICIAL_FILES.map(({ name }) => name).join(', ')}`,
    )
  terminal.out(renderSample(official))
  return 0
}
