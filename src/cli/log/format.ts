/** Log lines for people: turns the JSON that pino writes into text. */

const LEVELS: Readonly<Record<number, { name: string; color: number }>> = {
  10: { name: 'trace', color: 90 },
  20: { name: 'debug', color: 36 },
  30: { name: 'info', color: 32 },
  40: { name: 'warn', color: 33 },
  50: { name: 'error', color: 31 },
  60: { name: 'fatal', color: 35 },
}

/** Of complete lines, newlines included. */
export function formatLines(lines: string, colors: boolean): string {
  return lines
    .split('\n')
    .slice(0, -1)
    .map((line) => formatLine(`${line}\n`, colors))
    .join('')
}

/** Gives `12:34:56.789 info  message key=value`. A line that is not JSON is left alone. */
export function formatLine(line: string, colors: boolean): string {
  const fields = parseLine(line)
  if (fields === undefined) return line
  const { level, time, msg, err, ...rest } = fields
  const { name, color } = LEVELS[Number(level)] ?? { name: 'log', color: 0 }
  const paint = (text: string, code: number) => (colors ? `\u001b[${code}m${text}\u001b[0m` : text)
  const clock = typeof time === 'number' ? new Date(time).toISOString().slice(11, 23) : ''
  const pairs = Object.entries(rest).map(([key, value]) => `${paint(`${key}=`, 90)}${formatValue(value)}`)
  const words = [
    paint(clock, 90),
    paint(name.padEnd(5), color),
    printable(typeof msg === 'string' ? msg : ''),
    ...pairs,
  ]
  return `${words.filter((word) => word !== '').join(' ')}${formatError(err)}\n`
}

function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(line)
    return typeof parsed === 'object' && parsed !== null ? { ...parsed } : undefined
  } catch {
    return undefined
  }
}

function formatValue(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return /^[^\s"=]+$/.test(text)
    ? printable(text)
    : printable(typeof value === 'string' ? JSON.stringify(text) : text)
}

function formatError(error: unknown): string {
  if (typeof error !== 'object' || error === null) return ''
  const { stack, message } = error as { stack?: unknown; message?: unknown }
  const text = typeof stack === 'string' ? stack : typeof message === 'string' ? message : ''
  return text
    .split('\n')
    .map((each) => `\n  ${printable(each)}`)
    .join('')
}

/** Text from strangers must not be able to control the terminal. */
function printable(text: string): string {
  return text.replaceAll(
    /\p{Cc}/gu,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}
