/** Reads the files themselves: resolves relative paths, and reports TOML errors without ever quoting the file. */
import { isUtf8 } from 'node:buffer'
import { accessSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parse, TomlError } from 'smol-toml'
import type { Findings } from './read.ts'

/**
 * Relative paths start at the working directory, as with the reference endpoint. When nothing is there, but the file
 * exists next to the one that names it, that file is used.
 */
export function resolveBeside(path: string, namedIn: string): string {
  const usual = resolve(path)
  const beside = resolve(dirname(namedIn), path)
  return !exists(usual) && exists(beside) ? beside : usual
}

function exists(path: string): boolean {
  try {
    accessSync(path)
    return true
  } catch (error) {
    // A file without read permission still exists: the error belongs to this path, and its neighbour must not stand in.
    return !(error instanceof Error && 'code' in error && error.code === 'ENOENT')
  }
}

/**
 * The text of a file. When it cannot be read, notes the problem and returns undefined. Bytes that are no UTF-8 would
 * become other characters, and a user whose name or password has them could never connect.
 */
function readText(path: string, shown: string, prefix: string, findings: Findings): string | undefined {
  try {
    const bytes = readFileSync(path)
    if (isUtf8(bytes)) return bytes.toString()
    findings.problem(shown, '', `${prefix}: it is not text in UTF-8`)
  } catch (error) {
    findings.problem(shown, '', `${prefix}: ${reasonOf(error)}`)
  }
  return undefined
}

/** The tables of a file, integers as bigint. When it is wrong, notes the problem and returns undefined. */
export function readToml(
  path: string,
  shown: string,
  prefix: string,
  findings: Findings,
): Readonly<Record<string, unknown>> | undefined {
  const content = readText(path, shown, prefix, findings)
  if (content === undefined) return undefined
  try {
    return parse(content, { integersAsBigInt: true })
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    // Only the first line: the rest quotes the file, which may contain a password.
    const reason = error.message.split('\n', 1)[0]?.replace('Invalid TOML document: ', '')
    findings.problem(shown, '', `${prefix}: line ${error.line}, column ${error.column}: ${reason}`)
    return undefined
  }
}

/** The reason in words for an operator, such as "no such file". */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error ? error.code : undefined
  if (code === 'ENOENT') return 'no such file'
  if (code === 'EACCES') return 'permission denied'
  if (code === 'EISDIR') return 'it is a directory'
  return error.message
}
