/**
 * Where the log goes: JSON lines to standard output or a file, or text to a terminal. The lines of the lanes arrive
 * finished (`write`), those of the control thread come through `log`.
 */
import { closeSync, openSync } from 'node:fs'
import { destination, pino, type Logger } from 'pino'
import { formatLines } from './format.ts'
import type { LogLevel } from '../arguments.ts'

interface LogOutputOptions {
  readonly level: LogLevel
  readonly format: 'auto' | 'json' | 'pretty'
  /** Standard output when undefined. */
  readonly file: string | undefined
  readonly terminal: boolean
}

const STDOUT = 1
/** Readable by its owner and group only, because it names users. */
const FILE_MODE = 0o640
/** How much may wait for a full disk or a reader that has stopped; further lines are lost. */
const BACKLOG_CHARACTERS = 8 * 1024 * 1024

export class LogOutput {
  readonly log: Logger
  readonly level: LogLevel
  readonly #sink: ReturnType<typeof destination>
  readonly #pretty: boolean
  readonly #colors: boolean
  readonly #file: string | undefined
  /** A write has failed; what is still buffered may never be written. */
  #broken = false
  #lost = 0

  /** @throws when the file cannot be opened. */
  constructor({ level, format, file, terminal }: LogOutputOptions) {
    const toTerminal = terminal && file === undefined
    this.level = level
    this.#file = file
    this.#pretty = format === 'pretty' || (format === 'auto' && toTerminal)
    this.#colors = toTerminal
    if (file !== undefined) closeSync(openSync(file, 'a', FILE_MODE))
    this.#sink = destination({
      dest: file ?? STDOUT,
      sync: false,
      mode: FILE_MODE,
      maxLength: BACKLOG_CHARACTERS,
    })
    // The reader of the log has gone (EPIPE) or the disk is full: the endpoint goes on without a log.
    this.#sink.on('error', () => (this.#broken = true))
    this.#sink.on('drop', (lines: string) => (this.#lost += lines.split('\n').length - 1))
    // Not at once: at this moment the bytes just written still count as waiting.
    this.#sink.on('write', () => queueMicrotask(() => this.#onWritten()))
    this.log = pino({ level, base: null }, { write: (line: string) => this.write(line) })
  }

  /** Takes lines as pino writes them, newlines included. */
  write(lines: string): void {
    this.#sink.write(this.#pretty ? formatLines(lines, this.#colors) : lines)
  }

  #onWritten(): void {
    this.#broken = false
    const lines = this.#lost
    if (lines === 0) return
    this.#lost = 0
    this.log.warn({ lines }, 'log lines were lost: nobody was reading them')
  }

  /** Call after the file was moved away (logrotate): logging continues in a new one. */
  reopen(): void {
    if (this.#file !== undefined) this.#sink.reopen()
  }

  /** Resolves when everything that can be written has been. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#broken) {
        this.#sink.destroy()
        return resolve()
      }
      this.#sink.once('close', resolve)
      this.#sink.once('error', () => resolve())
      this.#sink.end()
    })
  }
}
